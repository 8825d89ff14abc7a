// Division, correctly rounded on every device.
//
// Vulkan allows a division 2.5 units of error, and a correction by fused multiply-add is wrong where the device rounds
// the product. So the device's quotient is an estimate of 24 bits, whose remainder is taken in integers: it is small,
// so its low 32 bits are all of it. No quotient of numbers of 24 bits lies half way between two others. Subnormal
// numbers, of either side, count as zero.
//include bits

// a / b where one of them is zero, infinite or NaN.
fn divide_special(x: u32, y: u32, sign: u32) -> f32 {
    let a = x & ~SIGN_BIT;
    let b = y & ~SIGN_BIT;
    let a_zero = a < HIDDEN;
    let b_zero = b < HIDDEN;
    var bits = sign;
    if a > INFINITE || b > INFINITE || (a_zero && b_zero) || (a == INFINITE && b == INFINITE) {
        bits = NOT_A_NUMBER;
    } else if a == INFINITE || b_zero {
        bits = sign | INFINITE;
    }
    return bitcast<f32>(bits);
}

fn divide(a: f32, b: f32) -> f32 {
    return divide_near(a, b, significand(a, 0u) / significand(b, 0u));
}

// a / b where `estimate` is near the quotient of their significands, by nine units of its last place.
fn divide_near(a: f32, b: f32, estimate: f32) -> f32 {
    let x = bitcast<u32>(a);
    let y = bitcast<u32>(b);
    let sign = (x ^ y) & SIGN_BIT;
    let xe = (x >> 23u) & 0xffu;
    let ye = (y >> 23u) & 0xffu;
    if xe == 0u || ye == 0u || xe == 255u || ye == 255u {
        return divide_special(x, y, sign);
    }
    let xm = (x & MANTISSA) | HIDDEN;
    let ym = (y & MANTISSA) | HIDDEN;
    let below = select(0u, 1u, xm < ym);
    // The quotient is below one by at most half: shifted by one more it has 24 bits too.
    var q = u32(estimate * bitcast<f32>((150u + below) << 23u));
    var rest = bitcast<i32>((xm << (23u + below)) - q * ym);
    let step = bitcast<i32>(ym);
    for (var i = 0; i < 10 && rest < 0; i += 1) {
        q -= 1u;
        rest += step;
    }
    for (var i = 0; i < 10 && rest >= step; i += 1) {
        q += 1u;
        rest -= step;
    }
    q += select(0u, 1u, 2 * rest > step);
    let exponent = bitcast<i32>(xe) - bitcast<i32>(ye) + 127 - bitcast<i32>(below);
    if exponent <= 0 {
        return bitcast<f32>(sign);
    }
    if exponent >= 255 {
        return bitcast<f32>(sign | INFINITE);
    }
    // The hidden bit is one of the exponent's, and a quotient that was rounded up to 2^24 carries into it.
    return bitcast<f32>(sign | ((bitcast<u32>(exponent - 1) << 23u) + q));
}
