//! The language of a text, by the detector that IFEval's own checker uses.

use std::sync::{LazyLock, Mutex, PoisonError};

use langdetect_rs::detector::Detector;
use langdetect_rs::detector_factory::DetectorFactory;

/// What the detector draws with. IFEval's checker leaves it open: mixed texts may differ from run to run.
const SEED: u64 = 0;
/// A language that the crate has beside those of the detector it follows.
const ADDED: &str = "\"name\":\"uz\"";

/// One for all: its tables are some tens of megabytes, once they are needed.
static DETECTOR: LazyLock<Mutex<Detector>> = LazyLock::new(|| {
    let profiles: Vec<&str> = DetectorFactory::get_default_profiles_json()
        .iter()
        .copied()
        .filter(|profile| !profile.contains(ADDED))
        .collect();
    let mut factory = DetectorFactory::new().with_seed(Some(SEED)).build();
    factory.load_json_profile(&profiles).expect("the crate's own profiles are well formed");
    Mutex::new(Detector::new(factory.word_lang_prob_map, factory.langlist, factory.seed))
});

/// The code of a text's language, by ISO 639-1; nothing if no letter tells of one.
pub fn language(text: &str) -> Option<String> {
    let mut detector = DETECTOR.lock().unwrap_or_else(PoisonError::into_inner);
    detector.text.clear();
    detector.langprob = None;
    detector.append(text);
    detector.detect().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_whatever_was_asked_before() {
        for (text, expect) in [
            ("The quick brown fox jumps over the lazy dog and runs away.", Some("en")),
            ("Der schnelle braune Fuchs springt über den faulen Hund.", Some("de")),
            ("Mbwa mwitu anaruka juu ya mbwa mvivu na kukimbia msituni.", Some("sw")),
            ("तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है।", Some("hi")),
            ("12 34 !?", None),
            ("The quick brown fox jumps over the lazy dog and runs away.", Some("en")),
        ] {
            assert_eq!(language(text).as_deref(), expect, "{text}");
        }
    }
}
