//! What is asked for.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::super::CliError;
use crate::replay::{self, TestKind};

/// What a retest is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Accounting {
    /// As in the paper: every retest re-uses the features of its members, also where another checkpoint computed them.
    Paper,
    /// A retest pays for every stage whose features its own checkpoint has not computed before.
    Honest,
}

impl Accounting {
    /// A line under the table.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Paper => {
                "Accounting of the paper: every retest re-uses features, also where another checkpoint computed them."
            }
            Self::Honest => "Honest accounting: stages that were not cached are charged.",
        }
    }
}

impl From<Accounting> for replay::Accounting {
    fn from(accounting: Accounting) -> Self {
        match accounting {
            Accounting::Paper => Self::Paper,
            Accounting::Honest => Self::Honest,
        }
    }
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP, group(ArgGroup::new("what").required(true).args(["table1", "folder"])))]
pub(in crate::cli) struct ReplayArgs {
    /// The recordings: a folder with an `index.csv` and a folder for each order of the items.
    #[arg(long, value_name = "DIR")]
    pub(super) data: PathBuf,
    /// Every row of the paper's Table 1.
    #[arg(long, conflicts_with_all = ["design", "chain", "threshold"])]
    table1: bool,
    /// Instead of the table, a plan on the items of this folder, as the index names it.
    #[arg(long, value_name = "NAME", requires = "chain")]
    pub(super) folder: Option<String>,
    /// Whose scores answer tests of several images, as the index names designs. Those of one image are the plain network's.
    #[arg(long, value_name = "NAME", requires = "folder")]
    pub(super) design: Option<String>,
    /// Sizes of the plan's tests, falling to 1; `d2:4` takes those of a size from another design. 1 alone tests every image alone.
    #[arg(long, value_name = "SIZES", value_delimiter = ',', requires = "folder")]
    pub(super) chain: Vec<TestKind>,
    /// From which score on a test is positive, 0 to 1: one for all sizes, or one for each [default: 0.5].
    #[arg(long, value_name = "S", value_delimiter = ',', requires = "folder")]
    threshold: Vec<f32>,
    /// What a retest is charged.
    #[arg(long, value_enum, value_name = "HOW", default_value = "paper")]
    pub(super) accounting: Accounting,
    /// The rows as a JSON array instead of the table; recall, fpr and relative are shares, 0 to 1.
    #[arg(long)]
    pub(super) json: bool,
}

const HELP: &str = "\
The scores were recorded for fixed groups of the same images, and the policies are those of the worker: a plan is answered by the recorded \
score of exactly the images that it asks for. So it needs recorded sizes, each of which divides the one before it.

Costs are multiply-adds, from the index: a test pays gmac_per_test, a retest on cached features only the layers after the last merge. Each \
design is a checkpoint of its own. The paper takes the second round of two rows from another checkpoint than the first, whose features \
were never computed, and charges it as cached all the same; with --accounting honest it pays in full.

Examples:
  dorfman replay --data recorded/ --table1
  dorfman replay --data recorded/ --table1 --accounting honest --json
  dorfman replay --data recorded/ --folder p0.10_seed42 --design d3 --chain 16,8,4,1 --threshold 0.5
  dorfman replay --data recorded/ --folder p0.10_seed42 --chain d3:16,d2:4,1 --threshold 0.9,0.7,0.5";

impl ReplayArgs {
    /// The thresholds.
    ///
    /// # Errors
    /// [`CliError::Usage`] if one is no score.
    pub(super) fn thresholds(&self) -> Result<Vec<f32>, CliError> {
        match self.threshold.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            Some(threshold) => Err(CliError::Usage(format!("--threshold is {threshold}, must be 0 to 1"))),
            None if self.threshold.is_empty() => Ok(vec![0.5]),
            None => Ok(self.threshold.clone()),
        }
    }
}
