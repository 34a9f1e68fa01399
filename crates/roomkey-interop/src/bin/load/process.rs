//! What Linux says of a process: its CPU time and its memory.

use std::time::Duration;

use roomkey::BoxError;

/// Ticks a second in `/proc`, the same on each Linux.
const TICKS: u64 = 100;

/// User and system time so far.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration, BoxError> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before the parenthesis can hold anything; `utime` and `stime` are the 12th and 13th field after it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat of a process")?;
    let ticks: Result<Vec<u64>, _> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect();
    Ok(Duration::from_millis(ticks?.into_iter().sum::<u64>() * 1000 / TICKS))
}

/// The resident memory in kB.
pub(crate) fn rss(pid: u32) -> Result<u64, BoxError> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
