//! What a run was made on: cores, memory, processor, system and how busy they were, out of `/proc` and `/etc/os-release`. No name of the machine or of its owner.

/// The machine.
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, in gigabytes of 10^9 bytes.
    pub memory_gb: f64,
    /// The processor's model.
    pub processor: String,
    /// The operating system.
    pub system: String,
    /// How many processes ran or waited for a core, over the minute before: what is measured beside others is measured badly.
    pub load_average: Option<f64>,
}

impl Machine {
    /// This one, now; what it does not tell is "unknown".
    pub fn this() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let memory = value(&read("/proc/meminfo"), "MemTotal", ':');
        let memory_kb = memory.as_deref().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let unknown = || "unknown".to_owned();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gb: memory_kb.unwrap_or(0.0) * 1024.0 / 1e9,
            processor: value(&read("/proc/cpuinfo"), "model name", ':').unwrap_or_else(unknown),
            system: value(&read("/etc/os-release"), "PRETTY_NAME", '=').unwrap_or_else(unknown),
            load_average: read("/proc/loadavg").split(' ').next().and_then(|text| text.parse().ok()),
        }
    }

    /// On one line.
    pub fn told(&self) -> String {
        let load = self
            .load_average
            .map_or(String::new(), |load| format!("; load average {load:.1} when the run began"));
        format!(
            "{}, {} cores, {:.0} GB of memory, {}{load}",
            self.processor, self.cores, self.memory_gb, self.system
        )
    }
}

/// The value of the first line that begins with `name`.
fn value(text: &str, name: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(separator)?;
        (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_are_found_as_each_file_writes_them() {
        assert_eq!(value("MemTotal:       24 kB\n", "MemTotal", ':').as_deref(), Some("24 kB"));
        assert_eq!(
            value("model\t: 1\nmodel name\t: AMD EPYC\n", "model name", ':').as_deref(),
            Some("AMD EPYC")
        );
        assert_eq!(
            value("NAME=\"a\"\nPRETTY_NAME=\"Debian 12\"\n", "PRETTY_NAME", '=').as_deref(),
            Some("Debian 12")
        );
    }
}
