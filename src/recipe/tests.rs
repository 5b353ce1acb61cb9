//! What recipes say.

use super::*;

#[test]
fn tensors_are_pytorchs_in_their_order() {
    let of = |bias| {
        let recipe = Recipe::new(Cell::Gru, bias, StepOptions::NONE, false);
        let tensors: Vec<_> = recipe.tensors(2, 4).map(|(tensor, shape)| (tensor.stem(), shape)).collect();
        let sizes = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>());
        assert_eq!(recipe.parameters(2, 4), sizes.sum::<usize>());
        tensors
    };
    let [w_ih, w_hh] = [("weight_ih", vec![12, 2]), ("weight_hh", vec![12, 4])];
    let [b_ih, b_hh] = [("bias_ih", vec![12]), ("bias_hh", vec![12])];
    assert_eq!(of(Bias::None), [w_ih.clone(), w_hh.clone()]);
    assert_eq!(of(Bias::Input), [w_ih.clone(), w_hh.clone(), b_ih.clone()]);
    assert_eq!(of(Bias::Recurrent), [w_ih.clone(), w_hh.clone(), b_hh.clone()]);
    assert_eq!(of(Bias::Both), [w_ih, w_hh, b_ih, b_hh]);
}

#[test]
fn phases_have_every_gate_once() {
    for recipe in Recipe::texts() {
        let all: Vec<usize> = recipe.phases().flat_map(|phase| phase.gates).collect();
        let gates = if recipe.has_product() { recipe.gates() } else { 0 };
        assert_eq!(all, (0..gates).collect::<Vec<_>>(), "{recipe}");
        // What a phase reads of saved values no gradient takes the place of.
        let kept = |phase: Phase| match phase.operand {
            Operand::H => true,
            Operand::Saved(slot) => slot >= recipe.gates() && !recipe.hidden_slots().contains(&slot),
        };
        assert!(recipe.phases().all(kept), "{recipe}");
        assert!(recipe.phases().next().is_none_or(|first| first.operand == Operand::H), "{recipe}");
    }
}

#[test]
fn runs_are_as_long_as_slots_are_neighbours() {
    let gru = Recipe::from(Cell::Gru);
    assert_eq!(gru.input_runs(), [GateRun { gates: 0..3, slot: 0 }]);
    assert_eq!(gru.hidden_runs(), [GateRun { gates: 0..2, slot: 0 }, GateRun { gates: 2..3, slot: 3 }]);
    // What the products of two phases make does not lie in one run, though their slots are neighbours.
    let before = Recipe::new(Cell::Gru, Bias::Both, "reset_before".parse().unwrap(), false);
    assert_eq!(before.hidden_runs(), [GateRun { gates: 0..2, slot: 0 }, GateRun { gates: 2..3, slot: 2 }]);
}
