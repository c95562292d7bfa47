//! What seconds depend on besides the bundle, and the name that follows from it (pure).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Provider;

/// A device with what runs a network on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// What runs the stages.
    pub provider: Provider,
    /// The name of the GPU or, where the provider is `cpu`, of the CPU.
    pub device: String,
    /// CPU cores that the process may use.
    pub cores: usize,
    /// Threads of the network's pool on the CPU, as configured; 0: one a core.
    pub threads: usize,
    /// ONNX Runtime's version.
    pub onnxruntime: String,
}

impl Machine {
    /// A name that is safe as that of a file: profiles of the same key are comparable. Cores and threads are part of it only where the CPU
    /// runs the stages.
    pub fn key(&self) -> String {
        let cores = match (self.provider, self.threads) {
            (Provider::Cpu, 0) => format!("{} cores", self.cores),
            (Provider::Cpu, threads) => format!("{} cores {threads} threads", self.cores),
            (Provider::Cuda | Provider::TensorRt, _) => String::new(),
        };
        slug(&format!("{} {} {cores} onnxruntime {}", self.provider, self.device, self.onnxruntime))
    }
}

/// Lower-case letters, digits and dots, with hyphens for everything between.
fn slug(text: &str) -> String {
    let text = text.replace("(R)", "").replace("(TM)", "").to_lowercase();
    let words =
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').filter(|w| !w.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn machine() -> Machine {
        let device = "Intel(R) Xeon(R) Platinum 8480+".into();
        Machine {
            provider: Provider::Cpu,
            device,
            cores: 8,
            threads: 0,
            onnxruntime: "1.31.1".into(),
        }
    }

    #[test]
    fn a_key_is_readable_and_safe_as_a_files_name() {
        assert_eq!(machine().key(), "cpu-intel-xeon-platinum-8480-8-cores-onnxruntime-1.31.1");
        let fewer = Machine { threads: 4, device: "../a/b".into(), ..machine() };
        assert_eq!(fewer.key(), "cpu-..-a-b-8-cores-4-threads-onnxruntime-1.31.1");
        let gpu =
            Machine { provider: Provider::Cuda, device: "NVIDIA H100 80GB HBM3".into(), ..fewer };
        assert_eq!(gpu.key(), "cuda-nvidia-h100-80gb-hbm3-onnxruntime-1.31.1");
    }
}
