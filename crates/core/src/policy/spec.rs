//! A plan by its parameters, without the calibration that some plans need.

use std::fmt;

use super::{Halving, Individual, MultiRound, OneRound, Plan, PlanError, Planned, PolicyInputs};

/// The policies that a plan can name. Displayed as the name in the configuration, such as
/// `multi-round`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// `individual`: every item is tested alone ([`Individual`]).
    Individual,
    /// `two-round`: the members of a positive group are retested one by one ([`MultiRound`] with
    /// two sizes).
    TwoRound,
    /// `multi-round`: a positive group is retested in ever smaller parts ([`MultiRound`]).
    #[default]
    MultiRound,
    /// `halving`: a positive group is retested in halves, one test after the other ([`Halving`]).
    Halving,
    /// `one-round`: the rows and columns of a square are tested at once ([`OneRound`]).
    OneRound,
    /// `planned`: the next test is the one with the highest probability of a positive per cost,
    /// until no test repays its cost ([`Planned`]).
    Planned,
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Individual => "individual",
            Self::TwoRound => "two-round",
            Self::MultiRound => "multi-round",
            Self::Halving => "halving",
            Self::OneRound => "one-round",
            Self::Planned => "planned",
        })
    }
}

impl PolicyKind {
    /// Whether [`PlanSpec::build`] needs [`PolicyInputs`] for groups of more than one item.
    pub fn needs_inputs(self) -> bool {
        self == Self::Planned
    }
}

/// The parameters of a plan.
///
/// ```
/// use dorfman_core::policy::{PlanSpec, PolicyKind};
///
/// let policy = PolicyKind::MultiRound;
/// let spec = PlanSpec { policy, group_size: 16, chain: vec![4], worth: 500.0 };
/// assert_eq!(spec.build(None)?.describe(), "16 > 4 > 1");
/// # Ok::<(), dorfman_core::policy::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PlanSpec {
    /// The policy.
    pub policy: PolicyKind,
    /// Items per group, 1 to [`super::MAX_GROUP`]. With 1 the plan is [`Individual`]. `Halving`
    /// accepts every size, and `OneRound` accepts square numbers from 9. `Individual` ignores the
    /// size.
    pub group_size: usize,
    /// Falling sizes of the tests after the first, in items, for `MultiRound` and `Planned`; the
    /// other policies ignore them. Sizes at or above `group_size` are skipped, and 1 always comes
    /// last.
    pub chain: Vec<usize>,
    /// What finding a positive is worth to `Planned`, in individual tests on cached features.
    /// Finite and above 0. The other policies ignore it.
    pub worth: f64,
}

impl PlanSpec {
    /// The sizes of the tests of a `MultiRound` or `Planned` plan, in items: `group_size` (above
    /// 1), the smaller sizes of the chain, and 1. They are not checked: [`PlanSpec::build`] checks
    /// them.
    pub fn sizes(&self) -> Vec<usize> {
        let smaller = |&size: &usize| size < self.group_size && size > 1;
        let between = self.chain.iter().copied().filter(smaller);
        std::iter::once(self.group_size).chain(between).chain([1]).collect()
    }

    /// Builds the plan. `inputs` is needed where [`PolicyKind::needs_inputs`] holds and
    /// `group_size` is above 1. Parameters that the policy ignores are not checked.
    ///
    /// # Errors
    /// [`PlanError`] for the first parameter that is out of range, for inputs that are missing
    /// ([`PlanError::NoInputs`]), or for inputs without evidence ([`PlanError::Calibration`]).
    pub fn build(&self, inputs: Option<&PolicyInputs>) -> Result<Box<dyn Plan>, PlanError> {
        let size = self.group_size;
        if size == 1 {
            return Ok(Box::new(Individual));
        }
        Ok(match self.policy {
            PolicyKind::Individual => Box::new(Individual),
            PolicyKind::TwoRound => Box::new(MultiRound::new(&[size, 1])?),
            PolicyKind::MultiRound => Box::new(MultiRound::new(&self.sizes())?),
            PolicyKind::Halving => Box::new(Halving::new(size)?),
            PolicyKind::OneRound => Box::new(OneRound::new(size)?),
            PolicyKind::Planned => {
                let sizes = self.sizes();
                MultiRound::new(&sizes)?;
                let inputs = inputs.ok_or(PlanError::NoInputs)?;
                Box::new(Planned::from_inputs(&sizes, inputs, self.worth)?)
            }
        })
    }

    /// The plan in words, as [`Plan::describe`] gives them. Needs no [`PolicyInputs`].
    ///
    /// # Errors
    /// As [`PlanSpec::build`]. For `Planned` only the sizes are checked, not the worth or inputs.
    pub fn describe(&self) -> Result<String, PlanError> {
        if self.policy == PolicyKind::Planned && self.group_size > 1 {
            return Ok(format!("planned {}", MultiRound::new(&self.sizes())?.describe()));
        }
        Ok(self.build(None)?.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(policy: PolicyKind, group_size: usize) -> PlanSpec {
        PlanSpec { policy, group_size, chain: vec![16, 4, 1], worth: 500.0 }
    }

    #[test]
    fn a_chain_is_cut_to_the_group_size() {
        let describe = |size| spec(PolicyKind::MultiRound, size).describe().unwrap();
        assert_eq!([16, 8, 3, 1].map(describe), ["16 > 4 > 1", "8 > 4 > 1", "3 > 1", "individual"]);
    }

    #[test]
    fn every_policy_is_named() {
        let describe = |policy| spec(policy, 16).describe().unwrap();
        assert_eq!(describe(PolicyKind::TwoRound), "16 > 1");
        assert_eq!(describe(PolicyKind::Halving), "halving 16");
        assert_eq!(describe(PolicyKind::OneRound), "one round, 4 and 4");
        assert_eq!(describe(PolicyKind::Planned), "planned 16 > 4 > 1");
        assert_eq!(spec(PolicyKind::Planned, 1).describe().unwrap(), "individual");
        assert_eq!(spec(PolicyKind::Individual, 16).build(None).unwrap().group_size(), 1);
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let error = |spec: PlanSpec| spec.build(None).err();
        assert_eq!(error(spec(PolicyKind::Planned, 16)), Some(PlanError::NoInputs));
        assert_eq!(error(spec(PolicyKind::OneRound, 12)), Some(PlanError::NotSquare(12)));
        let rising = PlanSpec { chain: vec![4, 8], ..spec(PolicyKind::MultiRound, 16) };
        assert_eq!(error(rising), Some(PlanError::ChainNotFalling));
    }
}
