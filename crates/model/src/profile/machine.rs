//! The device and software that a profile was measured on, and a file name for them (pure).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Provider;

/// A device, and the settings and software that run a network on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The execution provider that runs the stages.
    pub provider: Provider,
    /// The name of the GPU or, where the provider is `cpu`, of the CPU.
    pub device: String,
    /// The number of CPU cores that the process may use.
    pub cores: usize,
    /// The number of threads of the network's pool on the CPU, as configured. 0: one per core.
    pub threads: usize,
    /// The version of ONNX Runtime.
    pub onnxruntime: String,
}

impl Machine {
    /// A key that is safe as a file name. Profiles with the same key are comparable. The cores and
    /// threads are part of the key only if the provider is the CPU.
    pub fn key(&self) -> String {
        let cores = match (self.provider, self.threads) {
            (Provider::Cpu, 0) => format!("{} cores", self.cores),
            (Provider::Cpu, threads) => format!("{} cores {threads} threads", self.cores),
            (Provider::Cuda | Provider::TensorRt, _) => String::new(),
        };
        slug(&format!("{} {} {cores} onnxruntime {}", self.provider, self.device, self.onnxruntime))
    }
}

/// A text in lower-case ASCII letters, digits and dots. A hyphen replaces each sequence of other
/// characters.
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
    fn a_key_is_readable_and_safe_as_a_file_name() {
        assert_eq!(machine().key(), "cpu-intel-xeon-platinum-8480-8-cores-onnxruntime-1.31.1");
        let fewer = Machine { threads: 4, device: "../a/b".into(), ..machine() };
        assert_eq!(fewer.key(), "cpu-..-a-b-8-cores-4-threads-onnxruntime-1.31.1");
        let gpu =
            Machine { provider: Provider::Cuda, device: "NVIDIA H100 80GB HBM3".into(), ..fewer };
        assert_eq!(gpu.key(), "cuda-nvidia-h100-80gb-hbm3-onnxruntime-1.31.1");
    }
}
