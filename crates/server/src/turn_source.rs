//! Who writes the turns of a response: a model of this server, or an upstream's.

use std::sync::Arc;
use std::time::Instant;

use gptoss_api::ApiError;
use gptoss_api::generation::request::GenerationRequest;
use gptoss_api::usage::TokenUsage;
use gptoss_gateway::Label;

use crate::abroad_source::AbroadSource;
use crate::bill::Bill;
use crate::drive::ChoiceStream;
use crate::metrics::TurnMetrics;
use crate::model_host::Lease;
use crate::state::App;
use crate::turn_stream;

/// Who writes.
#[derive(Clone)]
pub(crate) enum TurnSource {
    /// A model of this server.
    Here(Arc<Lease>),
    /// One of an upstream.
    Abroad(Arc<AbroadSource>),
}

impl TurnSource {
    /// Begins a turn, which ends at `deadline` with what it has.
    ///
    /// Errors: what the engine or the gateway refuses.
    pub(crate) async fn begin(
        &self,
        app: &Arc<App>,
        generation: &Arc<GenerationRequest>,
        summarizes: bool,
        deadline: Option<Instant>,
    ) -> Result<ChoiceStream, ApiError> {
        Ok(match self {
            TurnSource::Here(model) => {
                let turn = turn_stream::begin_one(app, model, generation, summarizes, deadline).await?;
                ChoiceStream::Turn(Box::new(turn))
            }
            TurnSource::Abroad(source) => {
                ChoiceStream::Abroad(Box::new(source.begin(app, generation, deadline).await?))
            }
        })
    }

    /// From now on something has been done for this answer: nobody else may begin it anew.
    pub(crate) fn goes_on(&self) {
        if let TurnSource::Abroad(source) = self {
            source.goes_on();
        }
    }

    /// What lines of log call the model.
    pub(crate) fn name(&self) -> &Arc<str> {
        match self {
            TurnSource::Here(model) => &model.entry.name,
            TurnSource::Abroad(source) => &source.model,
        }
    }

    /// Where its turns are counted.
    pub(crate) fn turns(&self) -> &TurnMetrics {
        match self {
            TurnSource::Here(model) => &model.entry.turns,
            TurnSource::Abroad(source) => &source.turns,
        }
    }

    /// The model that judges where no other is named; None where nothing is judged.
    pub(crate) fn judge(&self) -> Option<&Arc<Lease>> {
        match self {
            TurnSource::Here(model) => Some(model),
            TurnSource::Abroad(source) => source.judge.as_ref(),
        }
    }

    /// What the request is charged.
    pub(crate) fn bill(&self) -> Option<&Arc<Bill>> {
        match self {
            TurnSource::Here(model) => model.bill(),
            TurnSource::Abroad(source) => source.bill(),
        }
    }

    /// The label under which everything that was said has left for an upstream; None where something has not.
    pub(crate) fn left(&self) -> Option<Label> {
        match self {
            TurnSource::Here(_) => None,
            TurnSource::Abroad(source) => source.left(),
        }
    }

    /// The label of what an upstream's model is told so far; None: the model is here.
    pub(crate) fn label(&self) -> Option<Label> {
        match self {
            TurnSource::Here(_) => None,
            TurnSource::Abroad(source) => Some(source.label()),
        }
    }

    /// Raises the label of what an upstream's model is told.
    pub(crate) fn raise(&self, label: Label) {
        if let TurnSource::Abroad(source) = self {
            source.raise(label);
        }
    }

    /// Charges what the request took, which has ended well.
    pub(crate) async fn settle(&self, tokens: TokenUsage) {
        if let Some(bill) = self.bill() {
            bill.settle(tokens).await;
        }
    }
}
