//! Processor time and memory of this process, as the kernel counts them.

use crate::Failure;

/// Nanoseconds of processor time of all threads that live now.
pub fn cpu_ns() -> Result<u64, Failure> {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(total)
}

/// Octets resident in memory.
pub fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().nth(1));
    Ok(kib.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}
