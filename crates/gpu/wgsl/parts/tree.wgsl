// Eight lanes folded as the CPU folds them: halves, then pairs, then neighbors.
fn tree(l0: f32, l1: f32, l2: f32, l3: f32, l4: f32, l5: f32, l6: f32, l7: f32) -> f32 {
    return ((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7));
}
