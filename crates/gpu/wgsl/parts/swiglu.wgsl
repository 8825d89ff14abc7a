// g * sigmoid(alpha * g) * (u + 1), in this order, with g = min(gate, limit) and u = clamp(up, -limit, limit), by
// comparisons that keep a NaN; sigmoid(x) = 1 / (1 + exp(-x)).
//include divide
//include exp
fn swiglu(gate: f32, up: f32, limit: f32, alpha: f32) -> f32 {
    let g = select(gate, limit, gate > limit);
    var u = select(up, limit, up > limit);
    u = select(u, -limit, u < -limit);
    let sigmoid = divide(1.0, 1.0 + exp_(-(alpha * g)));
    return g * sigmoid * (u + 1.0);
}
