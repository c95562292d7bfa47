//! What a bundle finds and costs on labelled images, compared with individual testing.
//!
//! Images are decoded, pooled, tested and retested by the worker's own code. At a small prevalence
//! p a stream has so few positives that a plain stream would take too long to measure. The stream
//! is therefore estimated by two strata. A group of M images has k ~ Binomial(M, p) positives. With
//! q = 1 - (1 - p)^M, a share 1 - q of the groups is *cold* (k = 0) and a share q is *hot*
//! (k >= 1). Cold groups are drawn from the negatives alone. Hot groups have k positives, drawn
//! from the binomial distribution given k >= 1. Each stratum runs by itself. Then:
//!
//! - Cost per image = ((1 - q) cost of a cold group + q cost of a hot group) / M. A cost is a
//!   number of tests, multiply-adds or seconds. A stratum runs in turns with individual testing.
//!   The seconds of a turn are divided by those of the following turn of individual testing, and
//!   the median turn is used.
//! - Recall = share of positives in hot groups that are flagged. Every positive of the stream is in
//!   a hot group. As in the stream, a group of k positives counts k times.
//! - False positive rate = ((1 - q) f_cold + (q - p) f_hot) / (1 - p), where f is the share of a
//!   stratum's negatives that are flagged. Of the M (1 - p) negatives that a group has on average,
//!   M (1 - q) are in cold groups and M (q - p) in hot groups.
//!
//! Intervals are Wilson's at 95 %. For recall, n is the number of different positives. For the
//! false positive rate, n is an effective number of negatives (`estimate.rs`).
//!
//! The strata leave out one effect. In a real stream, the retests of a rare hot group share batches
//! only with cold groups, so their batches are slightly less full than here. A plain stream
//! ([`EvaluateRequest::stream`]) includes this effect.

mod bundle_run;
mod decoded;
mod estimate;
mod opening;
mod picture;
mod planned;
mod request;
mod row;
mod sampling;
mod screening;
mod split;
mod table;
#[cfg(test)]
mod tests;
mod timing;

use serde::Serialize;

use crate::labelled::LabelledImages;
use crate::{LabError, Progress};
use decoded::DecodedImages;
use opening::BundleSummary;
pub use request::{ConfirmChoice, EvaluateRequest, PlanChoice};
use row::ReportRow;

/// The report of an evaluation. Its JSON is described in `docs/evaluate.md`.
#[derive(Debug, Serialize)]
pub struct EvaluateReport {
    /// Whether rows are estimated by `strata`, or each from a plain `stream`.
    method: &'static str,
    seed: u64,
    data: DataSummary,
    bundles: Vec<BundleSummary>,
    rows: Vec<ReportRow>,
}

/// The data in the report.
#[derive(Debug, Serialize)]
struct DataSummary {
    path: String,
    images: usize,
    positives: usize,
    negatives: usize,
    undecodable: Vec<Undecodable>,
}

/// An image that could not be decoded.
#[derive(Debug, Serialize)]
struct Undecodable {
    image: String,
    reason: String,
}

/// Evaluates bundles on labelled images. All bundles are checked before the first one is evaluated.
///
/// # Errors
/// [`LabError`] if a bundle, the data or a plan of the request is not usable, or if the network
/// fails.
pub fn evaluate(
    request: &EvaluateRequest,
    progress: &dyn Progress,
) -> Result<EvaluateReport, LabError> {
    for dir in &request.bundles {
        opening::check(request, dir)?;
    }
    let (limit, seed) = (request.limit_negatives, request.seed);
    let images = LabelledImages::open(&request.data, &request.positive, limit, seed)?;
    let (mut bundles, mut rows, mut decoded) = (Vec::new(), Vec::new(), None);
    for dir in &request.bundles {
        let (summary, mut found) =
            opening::evaluate(request, dir, &images, &mut decoded, progress)?;
        bundles.push(summary);
        rows.append(&mut found);
    }
    let method = if request.stream.is_some() { "stream" } else { "strata" };
    let data = DataSummary::new(&images, decoded.as_ref());
    Ok(EvaluateReport { method, seed, data, bundles, rows })
}

impl EvaluateReport {
    /// The report as tables with notes. `by_class` adds the rates by class and by source for each
    /// row.
    pub fn table(&self, by_class: bool) -> String {
        table::text(self, by_class)
    }

    /// Recall against network seconds as SVG.
    ///
    /// # Errors
    /// [`LabError::Picture`].
    pub fn picture(&self) -> Result<String, LabError> {
        picture::draw(self)
    }
}

impl DataSummary {
    fn new(images: &LabelledImages, decoded: Option<&DecodedImages>) -> Self {
        let positives = images.positive.iter().filter(|positive| **positive).count();
        let undecodable = decoded.map(|decoded| decoded.undecodable.clone()).unwrap_or_default();
        let named = |(image, reason)| Undecodable { image, reason };
        Self {
            path: images.path.display().to_string(),
            images: images.images.len(),
            positives,
            negatives: images.images.len() - positives,
            undecodable: undecodable.into_iter().map(named).collect(),
        }
    }
}
