//! What to do where no cell can be built: the settings of the system that stand against it.

use std::fs;

/// Settings of the kernel by which ordinary users are kept from namespaces, and the value that does.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "15000"),
];

/// What to do, by what is set here.
pub fn remedy() -> String {
    remedy_of(|name| fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok())
}

fn remedy_of(setting: impl Fn(&str) -> Option<String>) -> String {
    let refusing =
        SETTINGS.iter().find(|(name, value, _)| setting(name).is_some_and(|is| is.trim() == *value));
    match refusing {
        Some((name, value, wanted)) => format!(
            "{name} is {value} here: install bubblewrap, or allow it with `sudo sysctl -w {name}={wanted}`"
        ),
        None => {
            "it takes Linux 5.12 or newer with user namespaces and seccomp; in a container, one that may \
                 make namespaces and mount /proc (`--security-opt seccomp=unconfined --security-opt \
                 systempaths=unconfined`)"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_refuses_is_named() {
        let of = |name: &'static str, value: &'static str| {
            remedy_of(move |asked| (asked == name).then(|| format!("{value}\n")))
        };
        assert!(of("kernel.apparmor_restrict_unprivileged_userns", "1").contains("userns=0`"));
        assert!(of("kernel.unprivileged_userns_clone", "0").contains("userns_clone=1`"));
        assert!(of("user.max_user_namespaces", "0").contains("max_user_namespaces=15000`"));
        assert!(of("user.max_user_namespaces", "96365").contains("container"));
    }
}
