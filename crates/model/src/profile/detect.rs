//! Detects the CPU or GPU of this machine from the files of the kernel.

use std::fs;

use super::Machine;
use crate::{Provider, Runtime};

impl Machine {
    /// This machine. `gpu` is the number of the GPU, from 0; the CPU provider ignores it. `threads`
    /// is the size of the network's pool on the CPU (0: one per core).
    pub fn detect(runtime: &Runtime, provider: Provider, gpu: i32, threads: usize) -> Self {
        let device = match provider {
            Provider::Cpu => cpu_name(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            Provider::Cuda | Provider::TensorRt => gpu_name(&gpu_reports(), gpu),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { provider, device, cores, threads, onnxruntime: runtime.version() }
    }
}

/// The CPU's name in the text of /proc/cpuinfo. On Arm the kernel writes numbers instead of a name;
/// the result is then the architecture and these numbers.
fn cpu_name(cpuinfo: &str) -> String {
    if let Some(name) = field(cpuinfo, "model name") {
        return name.to_owned();
    }
    match (field(cpuinfo, "CPU implementer"), field(cpuinfo, "CPU part")) {
        (Some(implementer), Some(part)) => {
            format!("{} {implementer} {part}", std::env::consts::ARCH)
        }
        _ => std::env::consts::ARCH.to_owned(),
    }
}

/// The reports of NVIDIA's driver, one text per GPU, in the order of the bus.
fn gpu_reports() -> Vec<String> {
    let folders = fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    let mut files: Vec<_> = folders.map(|folder| folder.path().join("information")).collect();
    files.sort();
    files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
}

/// The name of the GPU. CUDA may number the GPUs in another order than the bus. If the GPUs differ,
/// the result therefore contains the names of all GPUs and the number.
fn gpu_name(reports: &[String], number: i32) -> String {
    let mut names: Vec<&str> = reports.iter().filter_map(|report| field(report, "Model")).collect();
    names.sort_unstable();
    names.dedup();
    match &names[..] {
        [] => format!("GPU {number}"),
        [name] => (*name).to_owned(),
        names => format!("{} number {number}", names.join(" or ")),
    }
}

/// The value of the first line `name: value`. `None` if there is no such line or its value is
/// empty.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_without_a_name_is_described_by_its_numbers() {
        assert_eq!(
            cpu_name("processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7763\n"),
            "AMD EPYC 7763"
        );
        let arm = cpu_name("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n");
        assert!(arm.ends_with(" 0x41 0xd0c"), "{arm}");
        assert_eq!(cpu_name(""), std::env::consts::ARCH);
    }

    #[test]
    fn equal_gpus_share_one_name() {
        let report = |name: &str| format!("Model: \t\t {name}\nIRQ:   \t\t 24\n");
        assert_eq!(gpu_name(&[report("NVIDIA T4"), report("NVIDIA T4")], 1), "NVIDIA T4");
        assert_eq!(
            gpu_name(&[report("NVIDIA T4"), report("NVIDIA A10")], 1),
            "NVIDIA A10 or NVIDIA T4 number 1"
        );
        assert_eq!(gpu_name(&[], 1), "GPU 1");
    }
}
