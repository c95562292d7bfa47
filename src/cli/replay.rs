//! `dorfman replay-scores`: the worker's policies over recorded scores, and what they find and cost.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use dorfman_core::cost;
use dorfman_lab::replay::{
    Archive, FittedPolicy, HALVED, HalvedLine, PREVALENCE_PERCENT, RecordedPlan, ReplayError,
    ReplayLine, ReplayRow, SEEDS, ScoreSource, halve, halved_table, replay_table, table1,
};

use super::CliError;

/// What a retest is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Accounting {
    /// As in the paper: every retest reuses the features of its members, also those that another
    /// checkpoint computed.
    Paper,
    /// A retest pays for every stage whose features its own checkpoint has not computed before.
    Honest,
}

impl From<Accounting> for cost::Accounting {
    fn from(accounting: Accounting) -> Self {
        match accounting {
            Accounting::Paper => Self::Paper,
            Accounting::Honest => Self::Honest,
        }
    }
}

/// A policy that is fitted before it is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// Scores are evidence: the next test follows from the probability that each set has a
    /// positive.
    Planned,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
#[command(
    after_long_help = HELP,
    group(ArgGroup::new("what").required(true).multiple(true).args(["table1", "folder", "policy"]))
)]
pub(super) struct ReplayArgs {
    /// The recordings: a folder with an `index.csv`, and one folder per order of the items.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Every row of the paper's Table 1.
    #[arg(long, conflicts_with_all = ["folder", "policy", "design", "chain", "threshold"])]
    table1: bool,
    /// Replay a plan on the items of this folder, as the index names it, instead of the table.
    #[arg(long, value_name = "NAME", requires = "chain")]
    folder: Option<String>,
    /// The design whose scores tests of several images have, as the index names it. Tests of one
    /// image have the scores of the plain network.
    #[arg(long, value_name = "NAME", requires = "folder")]
    design: Option<String>,
    /// Sizes of the plan's tests, falling to 1. `d2:4` takes the scores of a size from another
    /// design. 1 alone tests every image alone.
    #[arg(long, value_name = "SIZES", value_delimiter = ',', requires = "folder")]
    chain: Vec<ScoreSource>,
    /// The score from which a test is positive, 0 to 1: one for all sizes, or one per size
    /// [default: 0.5].
    #[arg(long, value_name = "S", value_delimiter = ',', requires = "folder")]
    threshold: Vec<f32>,
    /// A policy that is fitted on a random half of the groups and tested on the other half, as the
    /// mean over many halvings. A chain whose thresholds are fitted on the same halves is added for
    /// comparison. On the items of --folder, or on D3 and D2 at a prevalence of 0.1 % and 0.05 %.
    #[arg(long, value_enum, value_name = "POLICY", conflicts_with = "threshold")]
    policy: Option<Policy>,
    /// What finding a positive is worth to the planned policy, in individual tests. One row per
    /// value [default: 200,500,1000].
    #[arg(long, value_name = "TESTS", value_delimiter = ',', requires = "policy")]
    worth: Vec<f64>,
    /// How far the chain's thresholds are below the lowest score of a positive group, in log odds.
    /// One row per value [default: 0,1,2].
    #[arg(long, value_name = "M", value_delimiter = ',', requires = "policy")]
    margin: Vec<f64>,
    /// The number of halvings.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..),
        requires = "policy"
    )]
    halvings: u64,
    /// The seed of the halvings.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "policy")]
    seed: u64,
    /// What a retest is charged [default: paper; honest with --policy].
    #[arg(long, value_enum, value_name = "HOW")]
    accounting: Option<Accounting>,
    /// Print the rows as a JSON array instead of the table. recall, fpr and relative are shares, 0
    /// to 1.
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
The scores were recorded for fixed groups of the same images. The policies are those of the \
worker: the result of a test is the recorded score of exactly the images of the test. A plan \
therefore needs recorded sizes, each of which divides the one before it.

Costs are multiply-adds from the index: a test pays gmac_per_test, a retest on cached features \
pays only for the layers after the last merge. Each design is a checkpoint of its own. In two \
rows, the paper takes the second round from another checkpoint than the first round, which never \
computed the features, and charges it as cached. With --accounting honest it pays in full.

Examples:
  dorfman replay-scores --data recorded/ --table1
  dorfman replay-scores --data recorded/ --table1 --accounting honest --json
  dorfman replay-scores --data recorded/ --folder p0.10_seed42 --design d3 --chain 16,8,4,1 --threshold 0.5
  dorfman replay-scores --data recorded/ --folder p0.10_seed42 --chain d3:16,d2:4,1 --threshold 0.9,0.7,0.5
  dorfman replay-scores --data recorded/ --policy planned
  dorfman replay-scores --data recorded/ --policy planned --folder p0.10_seed42 --design d3 --chain 16,8,4,1";

pub(super) fn run(args: &ReplayArgs) -> Result<(), CliError> {
    if args.policy.is_some() {
        return run_fitted(args);
    }
    let rows = args.rows()?;
    if args.json {
        let lines: Vec<ReplayLine> = rows.iter().map(ReplayLine::from).collect();
        println!("{}", serde_json::to_string_pretty(&lines)?);
    } else {
        println!("{}", replay_table(&rows, args.accounting()));
    }
    Ok(())
}

fn run_fitted(args: &ReplayArgs) -> Result<(), CliError> {
    let lines = args.halved()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
    } else {
        println!("{}", halved_table(&lines, args.halvings, args.accounting()));
    }
    Ok(())
}

impl ReplayArgs {
    /// The rows of Table 1, or the row of one plan.
    fn rows(&self) -> Result<Vec<ReplayRow>, CliError> {
        let archive = Archive::open(&self.data).map_err(usage)?;
        let Some(folder) = &self.folder else {
            let recording = |seed| archive.recording(archive.folder_of(PREVALENCE_PERCENT, seed)?);
            let [first, second] = SEEDS.map(recording);
            let (first, second) = (first.map_err(usage)?, second.map_err(usage)?);
            return table1(&first, &second, self.accounting()).map_err(usage);
        };
        let recording = archive.recording(folder.trim_end_matches('/')).map_err(usage)?;
        let (design, thresholds) = (self.design.as_deref(), self.thresholds()?);
        let plan = RecordedPlan::new(&recording, &self.chain, design, &thresholds);
        let row = plan.and_then(|plan| ReplayRow::replay(&plan, self.accounting()));
        Ok(vec![row.map_err(usage)?])
    }

    /// The rows of the fitted policies.
    fn halved(&self) -> Result<Vec<HalvedLine>, CliError> {
        let archive = Archive::open(&self.data).map_err(usage)?;
        let policies = self.fitted()?;
        if let Some(folder) = &self.folder {
            let (folder, design) = (folder.trim_end_matches('/'), self.design.as_deref());
            return self.lines(&archive, folder, &self.chain, design, &policies).map_err(usage);
        }
        let mut lines = Vec::new();
        for (prevalence_percent, design, sizes) in HALVED {
            let source = |&size: &usize| ScoreSource { design: None, size };
            let chain: Vec<ScoreSource> = sizes.iter().map(source).collect();
            let folder = archive.folder_of(prevalence_percent, SEEDS[0]).map_err(usage)?;
            let rows = self.lines(&archive, folder, &chain, Some(design), &policies);
            lines.extend(rows.map_err(usage)?);
        }
        Ok(lines)
    }

    fn lines(
        &self,
        archive: &Archive,
        folder: &str,
        chain: &[ScoreSource],
        design: Option<&str>,
        policies: &[FittedPolicy],
    ) -> Result<Vec<HalvedLine>, ReplayError> {
        let recording = archive.recording(folder)?;
        let line = |&policy: &FittedPolicy| {
            let draws = (self.halvings, self.seed);
            let halved = halve(&recording, chain, design, policy, self.accounting(), draws)?;
            Ok(HalvedLine::new(folder, halved))
        };
        policies.iter().map(line).collect()
    }

    /// The thresholds.
    ///
    /// # Errors
    /// [`CliError::Usage`] if one is not a score.
    fn thresholds(&self) -> Result<Vec<f32>, CliError> {
        match self.threshold.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            Some(threshold) => {
                Err(CliError::Usage(format!("--threshold is {threshold}, must be 0 to 1")))
            }
            None if self.threshold.is_empty() => Ok(vec![0.5]),
            None => Ok(self.threshold.clone()),
        }
    }

    fn accounting(&self) -> cost::Accounting {
        let default = if self.policy.is_some() { Accounting::Honest } else { Accounting::Paper };
        self.accounting.unwrap_or(default).into()
    }

    /// The chains by margin, and then the planned policies by worth.
    ///
    /// # Errors
    /// [`CliError::Usage`] if a margin is not a number. The policy itself checks the worth.
    fn fitted(&self) -> Result<Vec<FittedPolicy>, CliError> {
        if let Some(margin) = self.margin.iter().find(|margin| !margin.is_finite()) {
            return Err(CliError::Usage(format!("--margin is {margin}, must be a number")));
        }
        let margins = if self.margin.is_empty() { &[0.0, 1.0, 2.0] } else { &self.margin[..] };
        let worths = if self.worth.is_empty() { &[200.0, 500.0, 1000.0] } else { &self.worth[..] };
        let margins = margins.iter().copied().map(FittedPolicy::Margin);
        Ok(margins.chain(worths.iter().copied().map(FittedPolicy::Worth)).collect())
    }
}

fn usage(error: ReplayError) -> CliError {
    CliError::Usage(error.to_string())
}
