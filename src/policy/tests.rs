//! Policies as a whole: what they decide, what they say of themselves, what is refused.
