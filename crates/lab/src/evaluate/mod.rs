//! `dorfman evaluate`: what a bundle finds and costs on labelled images, against individual testing with the same network.
//!
//! Images are decoded, pooled, tested and retested by the worker's own code. At a small prevalence p a stream holds so few positives that
//! measuring it as it is takes too long, so it is estimated by strata. Groups of M images have k ~ Binomial(M, p) positives; with
//! q = 1 - (1 - p)^M, a share 1 - q of the groups is *cold* (k = 0) and a share q is *hot* (k >= 1). Cold groups are dealt from the
//! negatives alone, hot ones with k drawn from the binomial given k >= 1, and each stratum is run by itself. Then:
//!
//! - cost of an image = ((1 - q) cost of a cold group + q cost of a hot group) / M, where a cost is a number of tests, multiply-adds or
//!   seconds. A stratum is run in turns with individual testing; its median turn's seconds over those of the turn after it are weighed.
//! - recall = share of positives in hot groups that are flagged: every positive of the stream is in one. A positive in a group of k is met
//!   k times as often, as in the stream.
//! - false positive rate = ((1 - q) f_cold + (q - p) f_hot) / (1 - p), with f the share of a stratum's negatives that are flagged: of the
//!   M (1 - p) negatives in a group's expectation, M (1 - q) are in cold groups and M (q - p) in hot ones.
//!
//! Intervals are Wilson's at 95 %: for recall with the number of different positives used, for the false positive rate with an effective
//! number of negatives (`estimate.rs`). What the strata leave out: in a real stream the retests of a rare hot group share batches with cold
//! groups only, so they are batched a little less well than here; `--stream` runs the stream as it is.

mod args;
mod deal;
mod estimate;
mod judge;
mod pass;
mod picture;
mod row;
mod split;
mod table;
mod tensors;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::CliError;
use super::labelled::Labelled;
use crate::ops::logging;
pub(super) use args::EvaluateArgs;
use args::Request;
use judge::BundleLine;
use row::Row;
use tensors::Tensors;

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether rows are estimated by `strata`, or each from a plain `stream`.
    method: &'static str,
    seed: u64,
    data: DataLine,
    bundles: Vec<BundleLine>,
    rows: Vec<Row>,
}

/// The data in the report.
#[derive(Debug, Serialize)]
struct DataLine {
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

pub(super) fn run(args: &EvaluateArgs) -> Result<(), CliError> {
    let request = Request::new(args)?;
    logging::init(&request.config.logging).map_err(|e| CliError::Usage(e.to_string()))?;
    // What is wrong with the last bundle should not come out after the first one's hour.
    request.bundles.iter().try_for_each(|dir| judge::check(&request, dir).map(drop))?;
    let set = Labelled::open(&args.data, &args.positive, args.limit_negatives, args.seed)?;
    let (mut bundles, mut rows, mut tensors) = (Vec::new(), Vec::new(), None);
    for dir in &request.bundles {
        let (line, mut found) = judge::judge(args, &request, dir, &set, &mut tensors)?;
        bundles.push(line);
        rows.append(&mut found);
    }
    let method = if args.stream.is_some() { "stream" } else { "strata" };
    let report = Report { method, seed: args.seed, data: data_line(&set, tensors.as_ref()), bundles, rows };
    if let Some(path) = &args.picture {
        std::fs::write(path, picture::draw(&report)?)?;
    }
    match &args.json {
        Some(path) if path.as_os_str() == "-" => {
            println!("{}", serde_json::to_string_pretty(&report)?);
            return Ok(());
        }
        Some(path) => std::fs::write(path, serde_json::to_vec_pretty(&report)?)?,
        None => {}
    }
    table::print(&report, args.by_class);
    Ok(())
}

fn data_line(set: &Labelled, tensors: Option<&Tensors>) -> DataLine {
    let positives = set.positive.iter().filter(|positive| **positive).count();
    let missing = tensors.map(|t| t.undecodable.clone()).unwrap_or_default();
    DataLine {
        path: set.path.display().to_string(),
        images: set.images.len(),
        positives,
        negatives: set.images.len() - positives,
        undecodable: missing.into_iter().map(|(image, reason)| Undecodable { image, reason }).collect(),
    }
}
