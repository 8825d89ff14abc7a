//! Which of the host's containers is behind a client's name of one.
//!
//! What code left in a container can be read by whoever runs code there later. So a name means one container
//! for models here and others for those of upstreams, one for each label: what a request was told that may
//! not leave is not found by one that leaves.

use gptoss_gateway::Label;

/// Stands before a label; doubled where a name has it.
const MARK: &str = "@";

/// The host's name; `label` is that of what an upstream's model was told, None stands for a model here.
pub(crate) fn container_key(name: &str, label: Option<Label>) -> String {
    let name = name.replace(MARK, &MARK.repeat(2));
    match label {
        None => name,
        Some(label) => format!("{name}{MARK}{}", label.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_of_a_client_is_another_container() {
        assert_eq!(container_key("mine", None), "mine");
        let mut seen = std::collections::HashSet::new();
        for name in ["mine", "mine@", "mine@any", "mine@@any", "@", "", "any"] {
            for label in [None, Some(Label::Any), Some(Label::Confidential)] {
                assert!(seen.insert(container_key(name, label)), "{name} {label:?}");
            }
        }
    }
}
