//! Which Python a conversation has: the machine's, or one in WebAssembly.

use crate::cell::{Bind, Limits};
use crate::python::find::Interpreter;
#[cfg(feature = "wasm")]
use crate::python::wasm::WasmPython;

/// A Python that runs in cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonProgram {
    /// The machine's.
    System(Interpreter),
    /// One in WebAssembly, which the user gave.
    #[cfg(feature = "wasm")]
    Wasm(WasmPython),
}

impl PythonProgram {
    /// What a cell must show for it.
    pub(super) fn binds(&self) -> Vec<Bind> {
        match self {
            Self::System(interpreter) => interpreter.binds(),
            #[cfg(feature = "wasm")]
            Self::Wasm(python) => python.binds(),
        }
    }

    /// Whether its driver replies behind the marker in standard output, having no other way out.
    pub(super) fn replies_in_output(&self) -> bool {
        match self {
            Self::System(_) => false,
            #[cfg(feature = "wasm")]
            Self::Wasm(_) => true,
        }
    }

    /// What is run in a cell with these limits, before Python's own arguments.
    #[cfg_attr(
        not(feature = "wasm"),
        expect(unused_variables, reason = "WebAssembly's memory alone is held by more than the cell")
    )]
    pub(super) fn argv(&self, limits: &Limits) -> Vec<String> {
        match self {
            Self::System(interpreter) => vec![interpreter.path.display().to_string()],
            #[cfg(feature = "wasm")]
            Self::Wasm(python) => python.argv(limits.memory_bytes),
        }
    }
}

impl From<Interpreter> for PythonProgram {
    fn from(interpreter: Interpreter) -> Self {
        Self::System(interpreter)
    }
}

#[cfg(feature = "wasm")]
impl From<WasmPython> for PythonProgram {
    fn from(python: WasmPython) -> Self {
        Self::Wasm(python)
    }
}
