//! `exits`: the screen and the early exits of the network.

use std::collections::BTreeMap;

use dorfman_core::engine::NetworkPart;
use dorfman_core::planner::ExitLink;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// Which exits the worker uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExitMode {
    /// Those that are cheapest, by the calibration of the bundle.
    #[default]
    Auto,
    /// No exit: every image reaches the tests.
    None,
    /// Those in `exits.sensitivities`.
    Fixed,
}

/// The screen and the early exits: small networks and heads that clear an image before the rest of
/// the network runs. Without them in the bundle, this section has no effect.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExitsConfig {
    /// Which exits are used. `auto`: the worker chooses the exits and their sensitivities, so that
    /// an image costs least and `planning.recall_loss` is kept. With `group.size: auto` the choice
    /// follows the estimated prevalence. `none`: no exit. `fixed`: the exits in
    /// `exits.sensitivities`.
    pub mode: ExitMode,
    /// With `mode: fixed`: share of positive images that each exit lets pass, by the calibration of
    /// the bundle. A key is `screen`, or the number of the stage whose exit it is, as in
    /// `{screen: 0.995, "0": 0.998}`. Other exits are not used.
    pub sensitivities: BTreeMap<String, f64>,
    /// Bytes of encoded images that wait for the screen, at most. More images are fetched, but not
    /// handed to the screen, until some of these have left it.
    pub screen_bytes: usize,
}

impl Default for ExitsConfig {
    fn default() -> Self {
        Self { mode: ExitMode::Auto, sensitivities: BTreeMap::new(), screen_bytes: 64 << 20 }
    }
}

impl ExitsConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let key = "exits.sensitivities";
        for (name, &sensitivity) in &self.sensitivities {
            let what = format!("`{name}` must be `screen` or the number of a stage, such as \"0\"");
            require(part(name).is_some(), key, what)?;
            let what = format!("`{name}` is {sensitivity}, must be above 0 and at most 1");
            require(sensitivity > 0.0 && sensitivity <= 1.0, key, what)?;
        }
        let fixed = self.mode == ExitMode::Fixed;
        let what = "must name at least one exit with `exits.mode: fixed`, as in {\"0\": 0.998}";
        require(!fixed || !self.sensitivities.is_empty(), key, what)?;
        let what = "is only used with `exits.mode: fixed`; set the mode, or remove the key";
        require(fixed || self.sensitivities.is_empty(), key, what)?;
        let what = "must be at least 1048576 (1 MiB)";
        require(self.screen_bytes >= 1 << 20, "exits.screen_bytes", what)
    }

    /// The exits of `mode: fixed`, in the order in which an item meets them. Empty in other modes.
    pub fn fixed(&self) -> Vec<ExitLink> {
        let link = |(name, &sensitivity): (&String, &f64)| {
            Some(ExitLink { part: part(name)?, sensitivity })
        };
        let mut links: Vec<ExitLink> = self.sensitivities.iter().filter_map(link).collect();
        links.sort_by_key(|link| match link.part {
            NetworkPart::Stage(stage) => stage + 1,
            _ => 0,
        });
        links
    }
}

/// The exit of a key: the screen, or an exit of a stage.
fn part(name: &str) -> Option<NetworkPart> {
    match name {
        "screen" => Some(NetworkPart::Screen),
        stage => stage.parse().ok().map(NetworkPart::Stage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(entries: &[(&str, f64)]) -> ExitsConfig {
        let sensitivities = entries.iter().map(|&(name, s)| (name.to_owned(), s)).collect();
        ExitsConfig { mode: ExitMode::Fixed, sensitivities, ..ExitsConfig::default() }
    }

    #[test]
    fn fixed_exits_are_in_the_order_in_which_an_item_meets_them() {
        let exits = fixed(&[("10", 0.9), ("2", 0.99), ("screen", 1.0)]);
        assert!(exits.validate().is_ok());
        let parts: Vec<NetworkPart> = exits.fixed().iter().map(|link| link.part).collect();
        let stages = [2, 10].map(NetworkPart::Stage);
        assert_eq!(parts, [NetworkPart::Screen, stages[0], stages[1]]);
    }

    #[test]
    fn wrong_values_name_their_key() {
        let wrong = |c: ExitsConfig| c.validate().unwrap_err();
        for config in [
            fixed(&[("confirm", 0.9)]),
            fixed(&[("0", 1.1)]),
            fixed(&[]),
            ExitsConfig { mode: ExitMode::Auto, ..fixed(&[("0", 0.9)]) },
        ] {
            assert_eq!(wrong(config).key, "exits.sensitivities");
        }
        let small = ExitsConfig { screen_bytes: 10, ..ExitsConfig::default() };
        assert_eq!(wrong(small).key, "exits.screen_bytes");
    }
}
