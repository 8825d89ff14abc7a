//! Any message on a connection is a request or an error that names what is wrong, and a request is read or
//! refused as one of HTTP is.
#![no_main]

use gptoss_api::generation::visibility::Visibility;
use gptoss_api::limits::RequestLimits;
use gptoss_api::generation::hosted::ServerTools;
use gptoss_api::responses::{parse, socket};
use gptoss_fuzz::scope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    let create = match socket::read(message) {
        Ok(create) => create,
        Err(refused) => {
            let refusal = socket::refusal(&refused.error, refused.lane);
            assert!(refusal.status >= 400 && refusal.error.code.is_some());
            return;
        }
    };
    let limits = RequestLimits::default();
    let scope = scope(&limits, Visibility::Raw);
    let marked = socket::in_lane("{\"type\":\"response.created\"}", create.lane.as_deref());
    assert!(serde_json::from_str::<serde_json::Value>(&marked).is_ok());
    if let Ok(parsed) = parse::parse(&create.request, parse::PriorTurns::default(), &ServerTools::default(), &scope) {
        assert!(parsed.input_items.iter().all(|item| item.get("id").is_some()));
    }
});
