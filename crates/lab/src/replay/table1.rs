//! Table 1 of the paper: its algorithms and designs at a prevalence of 0.1 %, at a threshold of 0.5 (pure).

use super::{
    Accounting, Algorithm, INDIVIDUAL, RecordedPlan, Recording, ReplayError, Row, Spent, Summary, TestCost, TestKind,
    one_round,
};

/// Positives among the items, in per cent.
pub const PREVALENCE_PERCENT: f64 = 0.1;

/// The order of the items in all rows, and the second order that algorithm 3 needs.
pub const SEEDS: [u64; 2] = [42, 43];

/// The threshold of every test.
const THRESHOLD: f32 = 0.5;

/// What algorithm 3 saves in the second order on a group of four, in GMAC: layer 1 of its images, which the first order has computed. The
/// recordings do not have this figure; it is the paper's (4 x 1.4475).
const LAYER1_OF_FOUR: f64 = 5.79;

/// Design and size of the tests of every row but the last.
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
    // The second round from the other checkpoint: what accounting is asked about.
    &[("D3", 8), ("D2", 2), ALONE],
    &[("D3", 16), ("D2", 4), ALONE],
];
const ALONE: (&str, usize) = (INDIVIDUAL, 1);

/// The rows of Table 1 from recordings in the two orders of [`SEEDS`].
///
/// # Errors
/// [`ReplayError::NotRecorded`] if scores are missing that a row needs.
pub fn table1(first: &Recording, second: &Recording, accounting: Accounting) -> Result<Vec<Row>, ReplayError> {
    let plan = |tests: &&[(&str, usize)]| {
        let kinds: Vec<TestKind> =
            tests.iter().map(|&(design, size)| TestKind { design: Some(design.to_owned()), size }).collect();
        Row::replay(&RecordedPlan::new(first, &kinds, None, &[THRESHOLD])?, accounting)
    };
    let mut rows = PLANS.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
    rows.push(algorithm3(first, second, accounting)?);
    Ok(rows)
}

fn algorithm3(first: &Recording, second: &Recording, accounting: Accounting) -> Result<Row, ReplayError> {
    let (design, size) = ("D3", 4);
    let found = one_round(first, second, design, size, THRESHOLD)?;
    let full = first.scores(design, size)?.cost.full;
    // One checkpoint in both orders, so that the second finds layer 1 cached, whatever the accounting.
    let cost = TestCost { full, retest: full - LAYER1_OF_FOUR };
    let spent = Spent { first: found.tests[0], cached: found.tests[1], ..Spent::none(cost) };
    let summary = Summary::new(first.items(), &found.flagged, &[spent], accounting, first.individual_gmac()?);
    let plan = format!("{design} {size} and {size}");
    Ok(Row { algorithm: Algorithm::OneRound, design: Some(design.to_owned()), size, plan, summary })
}
