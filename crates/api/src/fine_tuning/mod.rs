//! Fine-tuning: what a job may ask, and the words in which its course is told.
//!
//! [`request`] reads what is asked, [`hyperparameters`] what `auto` means, [`words`] names models and tells
//! events, [`results`] writes the file of numbers.

pub mod hyperparameters;
pub mod request;
pub mod results;
pub mod words;
