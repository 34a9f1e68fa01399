//! What a process has used.

use std::time::Duration;

use roomkey::BoxError;

/// Linux counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of this process.
pub(crate) fn cpu() -> Result<Duration, BoxError> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, in brackets, may have spaces.
    let fields: Vec<_> = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok());
    Ok(TICK * (ticks(11).ok_or("no utime")? + ticks(12).ok_or("no stime")?))
}

/// Resident memory of this process in kB.
pub(crate) fn rss() -> Result<u64, BoxError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

/// Open files and sockets of this process.
pub(crate) fn descriptors() -> Result<usize, BoxError> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
