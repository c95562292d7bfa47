//! The value of a prior risk per item (pure).

use statrs::function::beta::beta_reg;

/// The distribution of risks in a stream.
///
/// Risks are beta distributed and calibrated: of the items with risk r a share r is positive (the
/// model of McMahan, Tebbs & Bilder, "Informative Dorfman Screening", Biometrics 68, 2012). With
/// parameters p k and (1 - p) k the mean is p, and the risk explains a share 1 / (k + 1) of the
/// variance of being positive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Risk {
    /// Share of positives among all items, above 0 and below 1.
    pub prevalence: f64,
    /// Share of the variance of being positive that the risk explains, above 0 (no information) and
    /// below 1 (certainty).
    pub explained: f64,
}

/// The items whose risks lie between two edges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// The lower edge, 0 to 1. The upper edge is the lower edge of the next band, or 1.
    pub least: f64,
    /// Share of the items that are in the band, above 0 and at most 1.
    pub share: f64,
    /// Share of positives among the items of the band, 0 to 1.
    pub prevalence: f64,
}

impl Risk {
    /// The bands between 0, the `edges` and 1. The edges must rise between 0 and 1. Bands with a
    /// share of the items of at most 1e-12 are left out.
    ///
    /// ```
    /// use dorfman_core::simulation::Risk;
    ///
    /// let bands = Risk { prevalence: 0.01, explained: 0.2 }.bands(&[0.005]);
    /// assert!(bands[0].prevalence < 0.005 && bands[1].prevalence > 0.01);
    /// ```
    ///
    /// # Panics
    /// If an edge is not 0 to 1, if the prevalence is not above 0 and below 1, or if
    /// [`Risk::explained`] is 1 or more.
    pub fn bands(&self, edges: &[f64]) -> Vec<Band> {
        let (p, k) = (self.prevalence, 1.0 / self.explained - 1.0);
        let (a, b) = (p * k, (1.0 - p) * k);
        // Shares of the items, and of the positives, whose risk is below an edge.
        let items = |edge: f64| beta_reg(a, b, edge);
        let positives = |edge: f64| beta_reg(a + 1.0, b, edge);
        let all: Vec<f64> =
            std::iter::once(0.0).chain(edges.iter().copied()).chain([1.0]).collect();
        let bands = all.windows(2).map(|edges| {
            let share = items(edges[1]) - items(edges[0]);
            let positive = p * (positives(edges[1]) - positives(edges[0]));
            Band { least: edges[0], share, prevalence: (positive / share).clamp(0.0, 1.0) }
        });
        bands.filter(|band| band.share > 1e-12).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Bands partition the items and the positives, and each has a prevalence between its
        /// edges.
        #[test]
        fn bands_are_parts_of_the_whole(p in 0.0005f64..0.3, explained in 0.01f64..0.9) {
            let edges = [0.001, 0.01, 0.1, 0.5];
            let bands = Risk { prevalence: p, explained }.bands(&edges);
            let shares: f64 = bands.iter().map(|b| b.share).sum();
            let positives: f64 = bands.iter().map(|b| b.share * b.prevalence).sum();
            prop_assert!((shares - 1.0).abs() < 1e-6 && (positives / p - 1.0).abs() < 1e-6);
            for band in bands.iter().filter(|b| b.share > 1e-6) {
                let above = edges.iter().copied().find(|&e| e > band.least).unwrap_or(1.0);
                prop_assert!(
                    band.prevalence >= band.least - 1e-6 && band.prevalence <= above + 1e-6,
                    "{:?}",
                    band
                );
            }
        }
    }

    #[test]
    fn a_more_informative_risk_spreads_more() {
        let least = |explained| Risk { prevalence: 0.01, explained }.bands(&[0.005])[0].prevalence;
        assert!(least(0.3) < least(0.03) && least(0.03) < least(0.003));
        // Uniform risks explain a third of the variance of a fair coin.
        let uniform = Risk { prevalence: 0.5, explained: 1.0 / 3.0 }.bands(&[0.25]);
        assert!(
            (uniform[0].share - 0.25).abs() < 1e-9 && (uniform[0].prevalence - 0.125).abs() < 1e-9
        );
    }
}
