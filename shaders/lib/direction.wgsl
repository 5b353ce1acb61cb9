// Directions from the first reversed one on take a sequence's steps from its end.
fn is_reversed(direction: u32, first_reversed: u32) -> bool {
    return direction >= first_reversed;
}
