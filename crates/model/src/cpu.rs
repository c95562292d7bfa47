//! CPU time and memory of this process, and the system's clock for the engine.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use dorfman_core::engine::Clock;
use rustix::time::{ClockId, clock_gettime};

/// The system's monotonic clock and the thread's CPU clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn thread_time(&self) -> Duration {
        thread_time()
    }
}

/// The number of threads to start: `configured`, or one per core if it is 0.
pub fn threads(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    }
}

/// The number of threads for ONNX Runtime. If `configured` is 0, this is the CPU quota of the
/// container, rounded down. Without a quota it is 0, and ONNX Runtime starts one thread per core. ONNX
/// Runtime does not look at quotas, and threads beyond a quota are stopped for most of the time.
pub fn runtime_threads(configured: usize) -> usize {
    let cores = rustix::thread::sched_getaffinity(None).map_or(0, |set| set.count() as usize);
    match threads(configured) {
        allowed if configured == 0 && allowed >= cores => 0,
        allowed => allowed,
    }
}

/// CPU time of the calling thread since it started.
pub fn thread_time() -> Duration {
    time(ClockId::ThreadCPUTime)
}

/// CPU time of all threads of the process, including threads that have ended.
pub fn process_time() -> Duration {
    time(ClockId::ProcessCPUTime)
}

fn time(clock: ClockId) -> Duration {
    let t = clock_gettime(clock);
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs() as u32)
}

/// CPU seconds of the live threads of the process, summed by thread name. Empty on systems other
/// than Linux.
pub fn by_thread_name() -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return sums };
    for task in tasks.flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
        // A thread may end between the listing and this read.
        let (Some(name), Some(stat)) = (read("comm"), read("schedstat")) else { continue };
        let nanoseconds: u64 =
            stat.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
        *sums.entry(name.trim().to_owned()).or_insert(0.0) += nanoseconds as f64 / 1e9;
    }
    sums
}

/// Resident memory of the process in bytes, as (present, peak). Both are 0 on systems other than
/// Linux.
pub fn resident_memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    (field("VmRSS:").unwrap_or(0), field("VmHWM:").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_advances_the_clock_of_the_thread() {
        let before = thread_time();
        let mut x = 1u64;
        while (thread_time() - before) < Duration::from_millis(2) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(process_time() >= thread_time());
        assert!(by_thread_name().values().sum::<f64>() > 0.0);
        let (now, peak) = resident_memory();
        assert!(now > 0 && peak > 0);
    }
}
