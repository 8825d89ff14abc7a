//! How the models of this server stand, for whoever decides between them and others.

use std::sync::Arc;

use gptoss_gateway::LocalState;

use crate::model_host::Entry;
use crate::roster::ModelState;
use crate::state::App;
use crate::status;

/// How each stands to a tenant, by its name.
pub(crate) fn states(
    app: &Arc<App>,
    tenant: &str,
) -> impl Fn(&str) -> LocalState + Send + Sync + use<> + 'static {
    let (app, tenant) = (Arc::clone(app), tenant.to_owned());
    move |name| state(&app, &tenant, name)
}

/// The model of this server that a name means, and no name the first; a name that means any model is not this
/// one's before another server's.
pub(crate) fn find(app: &App, tenant: &str, name: &str) -> Option<Arc<Entry>> {
    let entry = app.models.find(tenant, Some(name).filter(|name| !name.is_empty())).ok()?;
    (name.is_empty() || entry.served.is_called(name)).then_some(entry)
}

/// How the engine here stands to a model.
fn state(app: &App, tenant: &str, name: &str) -> LocalState {
    let Some(entry) = find(app, tenant, name) else { return LocalState::default() };
    let is_loadable = app.models.state(&entry) != ModelState::Failed;
    let loads = app.models.figures().into_iter().map(|model| {
        let asked = model.engine.running + model.engine.queued + model.num_waiting;
        asked as f64 / model.engine.sequences_max.max(1) as f64
    });
    LocalState {
        serves: true,
        is_up: is_loadable && status::is_well(app),
        load: loads.sum(),
        context_window: Some(entry.served.max_context as u64),
    }
}
