//! How much memory this process may use: the container's limit, else what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// The smallest limit in bytes that applies, if any can be read.
pub(super) fn limit() -> Option<u64> {
    limit_under(Path::new("/"))
}

/// cgroup v2 (`memory.max`) and v1 (`memory.limit_in_bytes`), the own group and every one above it; then `MemTotal`.
fn limit_under(root: &Path) -> Option<u64> {
    let mut limits = Vec::new();
    for line in read(root, "proc/self/cgroup").lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut group = PathBuf::from(group.trim_start_matches('/'));
        loop {
            let path = Path::new(mount).join(&group).join(file);
            // "max" is no number; v1 says "no limit" by one near 2^63, which MemTotal undercuts.
            limits.extend(read(root, path).trim().parse::<u64>());
            if !group.pop() {
                break;
            }
        }
    }
    let total = read(root, "proc/meminfo");
    let total = total.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    limits.extend(total.and_then(|kib| kib.trim().parse::<u64>().ok()).map(|kib| kib.saturating_mul(1024)));
    limits.into_iter().min()
}

fn read(root: &Path, path: impl AsRef<Path>) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = std::env::temp_dir().join(format!("keyward-memory-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = limit_under(&root);
        let _ = fs::remove_dir_all(&root);
        found
    }

    const TOTAL: (&str, &str) = ("proc/meminfo", "MemFree: 1 kB\nMemTotal:       2048 kB\n");

    #[test]
    fn the_machines_memory_counts_where_there_is_no_container() {
        assert_eq!(machine("bare", &[TOTAL]), Some(2048 * 1024));
        assert_eq!(machine("nothing", &[]), None);
    }

    #[test]
    fn the_tightest_group_of_version_two_counts() {
        let own = ("proc/self/cgroup", "0::/kube/pod\n");
        let outer = ("sys/fs/cgroup/kube/memory.max", "1000000\n");
        let inner = ("sys/fs/cgroup/kube/pod/memory.max", "max\n");
        assert_eq!(machine("v2", &[TOTAL, own, outer, inner]), Some(1_000_000));
        let root = ("sys/fs/cgroup/memory.max", "500000\n");
        assert_eq!(machine("v2root", &[TOTAL, ("proc/self/cgroup", "0::/\n"), root]), Some(500_000));
    }

    #[test]
    fn version_one_is_understood() {
        let own = ("proc/self/cgroup", "3:cpu,cpuacct:/a\n2:memory:/a\n");
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let some = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "700000\n");
        assert_eq!(machine("v1", &[TOTAL, own, none, some]), Some(700_000));
    }
}
