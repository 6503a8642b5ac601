//! The support itself: above all that the fake answers what a real server answers.

mod fake_against_real;
mod on_fakes;
mod on_real_servers;
