//! Table 1 of the paper: its algorithms and designs at a prevalence of 0.1 % and a threshold of 0.5
//! (pure).

use dorfman_core::cost::{Accounting, TestCost, TestCount};

use super::{
    Algorithm, INDIVIDUAL, RecordedPlan, Recording, ReplayError, ReplayRow, ScoreSource, Summary,
    one_round,
};

/// Positives among the items, in per cent.
pub const PREVALENCE_PERCENT: f64 = 0.1;

/// The order of the items in all rows, and the second order that algorithm 3 needs.
pub const SEEDS: [u64; 2] = [42, 43];

/// The threshold of every test.
const THRESHOLD: f32 = 0.5;

/// What algorithm 3 saves in the second order on a group of four, in GMAC: layer 1 of the group's
/// images, which the first order has computed. The recordings lack this figure; it is from the
/// paper (4 x 1.4475).
const LAYER1_OF_FOUR: f64 = 5.79;

/// Design and size of the tests of every row except the last.
const PLANS: [&[(&str, usize)]; 14] = [
    &[ALONE],
    &[("D1", 2), ALONE],
    &[("D1", 4), ALONE],
    &[("D2", 2), ALONE],
    &[("D2", 4), ALONE],
    &[("D2", 8), ALONE],
    &[("D2", 16), ALONE],
    &[("D3", 4), ALONE],
    &[("D3", 8), ALONE],
    &[("D3", 16), ALONE],
    &[("D2", 8), ("D2", 2), ALONE],
    &[("D2", 16), ("D2", 4), ALONE],
    // The second round is from the other checkpoint; only here the accounting makes a difference.
    &[("D3", 8), ("D2", 2), ALONE],
    &[("D3", 16), ("D2", 4), ALONE],
];
const ALONE: (&str, usize) = (INDIVIDUAL, 1);

/// The rows of Table 1 from recordings in the two orders of [`SEEDS`].
///
/// # Errors
/// [`ReplayError::NotRecorded`] if scores are missing that a row needs.
pub fn table1(
    first: &Recording,
    second: &Recording,
    accounting: Accounting,
) -> Result<Vec<ReplayRow>, ReplayError> {
    let source =
        |&(design, size): &(&str, usize)| ScoreSource { design: Some(design.to_owned()), size };
    let row = |tests: &&[(&str, usize)]| {
        let sources: Vec<ScoreSource> = tests.iter().map(source).collect();
        ReplayRow::replay(&RecordedPlan::new(first, &sources, None, &[THRESHOLD])?, accounting)
    };
    let mut rows = PLANS.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    rows.push(algorithm3(first, second, accounting)?);
    Ok(rows)
}

fn algorithm3(
    first: &Recording,
    second: &Recording,
    accounting: Accounting,
) -> Result<ReplayRow, ReplayError> {
    let (design, size) = ("D3", 4);
    let found = one_round(first, second, design, size, THRESHOLD)?;
    let full = first.scores(design, size)?.cost.full;
    // Both orders use one checkpoint, so layer 1 is cached in the second order by any accounting.
    let cost = TestCost { full, retest: full - LAYER1_OF_FOUR };
    let [in_first, in_second] = found.tests;
    let tests = TestCount { first: in_first, cached: in_second, ..TestCount::none(cost) };
    let individual = first.individual_gmac()?;
    let summary = Summary::new(first.items(), &found.flagged, &[tests], accounting, individual);
    let plan = format!("{design} {size} and {size}");
    let design = Some(design.to_owned());
    Ok(ReplayRow { algorithm: Algorithm::OneRound, design, size, plan, summary })
}
