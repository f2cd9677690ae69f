//! `tabellion verify`

pub(crate) fn run(_: &crate::cli::VerifyArgs) -> crate::Ended {
    Err(crate::failure::Failure::internal("not yet"))
}
