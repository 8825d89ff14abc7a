// g * sigmoid(alpha * g) * (u + 1), in this order, with g = min(gate, limit) and u = clamp(up, -limit, limit), by
// cuts that keep a NaN; sigmoid(x) = 1 / (1 + exp(-x)).
//include cut
//include divide
//include exp
fn swiglu(gate: f32, up: f32, limit: f32, alpha: f32) -> f32 {
    let g = select(gate, limit, is_above(gate, limit));
    var u = select(up, limit, is_above(up, limit));
    u = select(u, -limit, is_below_minus(u, limit));
    let sigmoid = divide(1.0, 1.0 + exp_(-(alpha * g)));
    return g * sigmoid * (u + 1.0);
}
