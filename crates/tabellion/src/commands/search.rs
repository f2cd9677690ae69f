//! `tabellion search`

pub(crate) fn run(_: &crate::cli::SearchArgs) -> crate::Ended {
    Err(crate::failure::Failure::internal("not yet"))
}
