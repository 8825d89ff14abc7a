//! What the gateway's upstreams came to. Their names are the operator's.

use std::fmt::Write;

use gptoss_gateway::{Figures, TIME_BUCKETS, TryEnd};

use super::vllm::escaped;

/// Adds what is known of upstreams, where there are any.
pub(crate) fn write_upstreams(page: &mut String, upstreams: &[Figures]) {
    if upstreams.is_empty() {
        return;
    }
    let label = |figures: &Figures| format!("upstream=\"{}\"", escaped(&figures.name));
    let mut head = |name: &str, kind: &str, help: &str, lines: &dyn Fn(&Figures) -> String| {
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        upstreams.iter().for_each(|figures| page.push_str(&lines(figures)));
    };
    let name = "gptoss_gateway_requests_total";
    let help = "Requests to an upstream, each try for itself, by what came of it.";
    head(name, "counter", help, &|figures| {
        let ends = TryEnd::ALL.iter().zip(figures.ends);
        let line = |(end, count): (&TryEnd, u64)| {
            format!("{name}{{{},outcome=\"{}\"}} {count}\n", label(figures), end.name())
        };
        ends.map(line).collect()
    });
    let name = "gptoss_gateway_tokens_total";
    let help = "Tokens that an upstream read, read from its cache (among those) and wrote, as it says.";
    head(name, "counter", help, &|figures| {
        let kinds = ["prompt", "cached", "completion"].into_iter().zip(figures.tokens);
        kinds.map(|(kind, count)| format!("{name}{{{},kind=\"{kind}\"}} {count}\n", label(figures))).collect()
    });
    let name = "gptoss_gateway_answer_seconds";
    let help =
        "From a try at an upstream to its first event, or to the whole of an answer that is no stream.";
    head(name, "histogram", help, &|figures| {
        let label = label(figures);
        let line = |(bound, count): (&f64, u64)| format!("{name}_bucket{{{label},le=\"{bound}\"}} {count}\n");
        let buckets: String = TIME_BUCKETS.iter().zip(figures.times).map(line).collect();
        let (count, sum) = (figures.num_times, figures.seconds);
        format!(
            "{buckets}{name}_bucket{{{label},le=\"+Inf\"}} {count}\n{name}_sum{{{label}}} {sum}\n{name}_count{{{label}}} {count}\n"
        )
    });
    let name = "gptoss_gateway_circuit_open";
    head(name, "gauge", "Whether nobody is sent to an upstream now.", &|figures| {
        format!("{name}{{{}}} {}\n", label(figures), u8::from(figures.is_open))
    });
    let name = "gptoss_gateway_requests_running";
    head(name, "gauge", "Requests that an upstream is answering.", &|figures| {
        format!("{name}{{{}}} {}\n", label(figures), figures.in_flight)
    });
}
