// erf, erfc and the normal distribution function on Vec. Coefficients are made by bench/minimax.py.
//
// erfc(a) = exp(−a²) X(a) for a ≥ 0, and 1/X(a) = √π a + P(a)/Q(a). The polynomials' coefficients are all positive, so
// that nothing cancels; for large a the last term vanishes, and an error of Q is nearly the same in Q and in √π a Q +
// P. exp is evaluated here, as a² has to have more digits than a number: a relative error of a² would be one of a²
// times itself.
#pragma once

#include "cpu/simd/math_exp.h"

namespace evolute::math {
EV_LEVEL_BEGIN

namespace error {

inline constexpr float kErfcPF[] = {0x1p+0f, 0x1.c90c6ap-1f, 0x1.ab68d8p-2f, 0x1.b2ce44p-4f, 0x1.9bf9fep-7f};
inline constexpr float kErfcQF[] = {0x1p+0f,        0x1.89684ap+0f, 0x1.224954p+0f,
                                    0x1.f008d6p-2f, 0x1.ead2e6p-4f, 0x1.d0d262p-7f};
inline constexpr double kErfcPD[] = {0x1p+0,
                                     0x1.c07e5eb1d29d5p+0,
                                     0x1.91c65d1176ddfp+0,
                                     0x1.d34d42f645413p-1,
                                     0x1.7f34b62465802p-2,
                                     0x1.c81fc4153cca1p-4,
                                     0x1.88f6bd5fee321p-6,
                                     0x1.d928d6a85ddc4p-9,
                                     0x1.6b3f4adab4f12p-12,
                                     0x1.122d8544b1578p-16};
inline constexpr double kErfcQD[] = {0x1p+0,
                                     0x1.32b039647bee7p+1,
                                     0x1.6b716782f63e5p+1,
                                     0x1.13ca3c50721d9p+1,
                                     0x1.264693614a452p+0,
                                     0x1.cb83a30ecd6d6p-2,
                                     0x1.09a0463b62329p-3,
                                     0x1.c1d10af402012p-6,
                                     0x1.0c290174b0c3ep-8,
                                     0x1.99e16fe00d024p-12,
                                     0x1.3560648cfffbfp-16};

// (Φ(x) − ½)/x of x²/2, |x| ≤ ½.
inline constexpr float kNormalF[] = {0x1.988454p-2f, -0x1.1058a8p-3f, 0x1.46cd58p-5f, -0x1.2e1828p-7f};
inline constexpr double kNormalD[] = {0x1.9884533d43651p-2,  -0x1.1058377e2d18fp-3, 0x1.46d04297bcb01p-5,
                                      -0x1.37403fa84ef48p-7, 0x1.e42b36bf616c6p-10, -0x1.3cf0074cf0063p-12,
                                      0x1.66a14f3a15ba3p-15, -0x1.6bbb52b346de1p-18};

// erfc(a) 2^(−n) and n for a ≥ 0, from a, from w = √π a and from s + s_low = a².
template <class T>
struct Scaled {
  Vec<T> y, n;
};
template <class T>
EV_INLINE Scaled<T> erfc_scaled(Vec<T> a, Vec<T> w, Vec<T> s, Vec<T> s_low) {
  using V = Vec<T>;
  const V magic = kRoundMagic<T>;
  const V n = fma(s, V(T(-0x1.71547652b82fep+0)), magic) - magic;
  const V r = fma(n, V(-Ln2<T>::lo), fma(n, V(-Ln2<T>::hi), -s)) - s_low;
  const V p = horner(a, kErfcPF, kErfcPD), q = horner(a, kErfcQF, kErfcQD);
  const V x = q / fma(w, q, p);
  return {fma(x, expm1_reduced(r), x), n};
}

#if defined(__AVX512F__)

// Functions in pieces, whose tables fit in registers. The number of the piece is the low bits of a rounded number. A
// table has the points that the pieces are expanded around, at which the function is nearly a number of this type (Gal,
// Computing elementary functions, 1986), then the coefficients, lowest power first: of erf, and of the normal
// distribution at −a.
// clang-format off
inline constexpr float kErfTableF[][32] = {
    {0x0p+0f, 0x1.0079p-3f, 0x1.00438p-2f, 0x1.80334p-2f, 0x1.0038dp-1f, 0x1.400fcp-1f, 0x1.8005dp-1f, 0x1.c035ep-1f,
     0x1.00132p+0f, 0x1.2000d8p+0f, 0x1.4001f8p+0f, 0x1.60092p+0f, 0x1.8001cp+0f, 0x1.a01158p+0f, 0x1.c005b8p+0f,
     0x1.e01438p+0f, 0x1.00053cp+1f, 0x1.1006d8p+1f, 0x1.20028cp+1f, 0x1.300428p+1f, 0x1.4004f4p+1f, 0x1.500b4cp+1f,
     0x1.600ddcp+1f, 0x1.700c9cp+1f, 0x1.8008a8p+1f, 0x1.900134p+1f, 0x1.a00ca4p+1f, 0x1.b00f9cp+1f, 0x1.c00f9cp+1f,
     0x1.dp+1f, 0x1.ep+1f, 0x1.fp+1f},
    {0x0p+0f, 0x1.1fe484p-3f, 0x1.1b3cdap-2f, 0x1.9e031p-2f, 0x1.0ab0ep-1f, 0x1.3f2574p-1f, 0x1.6c2054p-1f,
     0x1.918e8cp-1f, 0x1.af865ap-1f, 0x1.c6db5cp-1f, 0x1.d8874cp-1f, 0x1.e579a8p-1f, 0x1.eea5cp-1f, 0x1.f4f95ep-1f,
     0x1.f92da2p-1f, 0x1.fbe77ap-1f, 0x1.fd9b5p-1f, 0x1.fea478p-1f, 0x1.ff405ap-1f, 0x1.ff9972p-1f, 0x1.ffcab4p-1f,
     0x1.ffe522p-1f, 0x1.fff2d8p-1f, 0x1.fff9bep-1f, 0x1.fffd1cp-1f, 0x1.fffeb4p-1f, 0x1.ffff7p-1f, 0x1.ffffc4p-1f,
     0x1.ffffe8p-1f, 0x1.fffff6p-1f, 0x1.fffffcp-1f, 0x1.fffffep-1f},
    {0x1.20dd76p+0f, 0x1.1c5ec6p+0f, 0x1.0f5424p+0f, 0x1.f5ddf6p-1f, 0x1.c1bddap-1f, 0x1.86da62p-1f, 0x1.4928a8p-1f,
     0x1.0c79eap-1f, 0x1.a8d27p-2f, 0x1.45e732p-2f, 0x1.e45bep-3f, 0x1.5cc364p-3f, 0x1.e71976p-4f, 0x1.4954bap-4f,
     0x1.b03364p-5f, 0x1.127d5ap-5f, 0x1.52644p-6f, 0x1.940674p-7f, 0x1.d3ea54p-8f, 0x1.06690ep-8f, 0x1.1d4bdep-9f,
     0x1.2c5d4ap-10f, 0x1.32a9f4p-11f, 0x1.2fa75ep-12f, 0x1.239282p-13f, 0x1.0f8e28p-14f, 0x1.e87bfp-16f,
     0x1.aabfcp-17f, 0x1.69bb3ap-18f, 0x1.296a7p-19f, 0x1.d9371ep-21f, 0x1.6ce1aap-22f},
    {-0x1.f785fap-16f, -0x1.1ce526p-3f, -0x1.0f9b9ep-2f, -0x1.7898aap-2f, -0x1.c221a2p-2f, -0x1.e8a9p-2f,
     -0x1.edc46cp-2f, -0x1.d60dd8p-2f, -0x1.a8f22ep-2f, -0x1.6ea52p-2f, -0x1.2ebb4ep-2f, -0x1.df9928p-3f,
     -0x1.6d54cep-3f, -0x1.0ba00cp-3f, -0x1.7a31dcp-4f, -0x1.01605ep-4f, -0x1.526b44p-5f, -0x1.ad52p-6f,
     -0x1.07362p-6f, -0x1.37a13p-7f, -0x1.64a3ccp-8f, -0x1.8a465p-9f, -0x1.a5bc1cp-10f, -0x1.b48398p-11f,
     -0x1.b56fd2p-12f, -0x1.a83e5ep-13f, -0x1.8ced42p-14f, -0x1.691776p-14f, -0x1.283884p-14f, -0x1.1d9c36p-19f,
     0x1.09d14ap-17f, 0x1.1a9204p-15f},
    {-0x1.7eb20ep-2f, -0x1.6f473p-2f, -0x1.3c7f62p-2f, -0x1.e0c912p-3f, -0x1.2b49ccp-3f, -0x1.c78d42p-5f,
     0x1.b747d8p-6f, 0x1.7d666ap-4f, 0x1.1b8bb4p-3f, 0x1.4caedep-3f, 0x1.571b7cp-3f, 0x1.436baap-3f, 0x1.1c2652p-3f,
     0x1.d62d9p-4f, 0x1.71370ep-4f, 0x1.140642p-4f, 0x1.8adbb2p-5f, 0x1.0e7646p-5f, 0x1.63d5e4p-6f, 0x1.c1b544p-7f,
     0x1.117228p-7f, 0x1.400206p-8f, 0x1.69150cp-9f, 0x1.891e36p-10f, 0x1.9d214cp-11f, 0x1.a35c3ap-12f,
     0x1.99b6d2p-13f, 0x1.3f79bcp-14f, 0x1.7eab04p-16f, 0x1.394a7ep-16f, 0x1.0b6976p-17f, 0x1.b95f0cp-19f},
    {-0x1.f73778p-5f, 0x1.19865ep-4f, 0x1.03d81ap-3f, 0x1.54cedp-3f, 0x1.768e0cp-3f, 0x1.69081cp-3f, 0x1.345016p-3f,
     0x1.cba44p-4f, 0x1.1b0dfp-4f, 0x1.ca7396p-6f, -0x1.8d92e6p-8f, -0x1.f23622p-6f, -0x1.6c9c3ap-5f,
     -0x1.96b31ep-5f, -0x1.89a04p-5f, -0x1.59e5a4p-5f, -0x1.19f8bep-5f, -0x1.af74ap-6f, -0x1.38c976p-6f,
     -0x1.ae66fp-7f, -0x1.1b04cp-7f, -0x1.639eb6p-8f, -0x1.aa3798p-9f, -0x1.f3914cp-10f, -0x1.0fa292p-10f,
     -0x1.2974dp-11f, -0x1.2dcc78p-12f, 0x1.65d1d4p-7f, 0x1.b07178p-7f, -0x1.9478d8p-10f, -0x1.7a8d2ap-9f,
     -0x1.25cfeap-7f},
    {0x1.354354p-1f, 0x1.b24b2cp-4f, 0x1.68c36cp-4f, 0x1.85e736p-5f, 0x1.7f317p-8f, -0x1.7e1a96p-6f, -0x1.ae0ee8p-5f,
     -0x1.182b02p-4f, -0x1.1b300ep-4f, -0x1.e6b1fep-5f, -0x1.7f6634p-5f, -0x1.f430dep-6f, -0x1.dc6cc8p-7f,
     -0x1.3a44ccp-9f, 0x1.b1a27p-8f, 0x1.780822p-7f, 0x1.af4f9p-7f, 0x1.9945cep-7f, 0x1.5ddd48p-7f, 0x1.112f24p-7f,
     0x1.906e5p-8f, 0x1.14b16p-8f, 0x1.6a8a7cp-9f, 0x1.c08eacp-10f, 0x1.0bebccp-10f, 0x1.2f6d7ap-11f,
     0x1.4950d6p-12f, 0x1.aaef8cp-8f, 0x1.f8729p-8f, 0x1.4d8734p-15f, 0x1.35d0ap-16f, 0x1.14a3f4p-17f},
};
inline constexpr float kTailTableF[][32] = {
    {0x0p+0f, 0x1.651dp-3f, 0x1.6440cp-2f, 0x1.0b29dp-1f, 0x1.644aep-1f, 0x1.bd745p-1f, 0x1.0b3aep+0f, 0x1.37ae1p+0f,
     0x1.643b28p+0f, 0x1.90cf4p+0f, 0x1.bd45p+0f, 0x1.e9cdap+0f, 0x1.0b2578p+1f, 0x1.216604p+1f, 0x1.37aef4p+1f,
     0x1.4df8d8p+1f, 0x1.643644p+1f, 0x1.7a76acp+1f, 0x1.90b6p+1f, 0x1.a6fcecp+1f, 0x1.bd3c1p+1f, 0x1.d37cc8p+1f,
     0x1.e9cb28p+1f, 0x1.00009ep+2f, 0x1.0b272cp+2f, 0x1.16434p+2f, 0x1.2167d6p+2f, 0x1.2c8a26p+2f, 0x1.37ab82p+2f,
     0x1.42c9e2p+2f, 0x1.4dea4p+2f, 0x1.5910d6p+2f},
    {0x1p-1f, 0x1.b92024p-2f, 0x1.74b0fep-2f, 0x1.342014p-2f, 0x1.f22d7cp-3f, 0x1.898208p-3f, 0x1.2fa9fcp-3f,
     0x1.c98d5ap-4f, 0x1.50019p-4f, 0x1.e0fbd8p-5f, 0x1.4fc614p-5f, 0x1.c86146p-6f, 0x1.2e20aep-6f, 0x1.8558d4p-7f,
     0x1.e7f03p-8f, 0x1.296bc8p-8f, 0x1.61124p-9f, 0x1.9781eap-10f, 0x1.c96166p-11f, 0x1.f2ac26p-12f,
     0x1.0876ccp-12f, 0x1.1095b8p-13f, 0x1.1091fep-14f, 0x1.09a2a6p-15f, 0x1.f58d66p-17f, 0x1.cd4ab6p-18f,
     0x1.9b2b2p-19f, 0x1.6434aap-20f, 0x1.2bcebp-21f, 0x1.ea9d72p-23f, 0x1.859e42p-24f, 0x1.2bd7dp-25f},
    {-0x1.988454p-2f, -0x1.925a7p-2f, -0x1.8087p-2f, -0x1.648572p-2f, -0x1.40abp-2f, -0x1.17cba4p-2f,
     -0x1.d9d4cap-3f, -0x1.855e7cp-3f, -0x1.364a2p-3f, -0x1.dfb556p-4f, -0x1.68079p-4f, -0x1.060928p-4f,
     -0x1.72311cp-5f, -0x1.fb5d44p-6f, -0x1.511f36p-6f, -0x1.b298eep-7f, -0x1.100cd2p-7f, -0x1.4a6116p-8f,
     -0x1.854fa4p-9f, -0x1.bcc35p-10f, -0x1.ed5c52p-11f, -0x1.097206p-11f, -0x1.14b148p-12f, -0x1.189ebap-13f,
     -0x1.135a36p-14f, -0x1.06d5c8p-15f, -0x1.e5bccp-17f, -0x1.b3b854p-18f, -0x1.7b4efcp-19f, -0x1.40a852p-20f,
     -0x1.06d97p-21f, -0x1.a13dd8p-23f},
    {0x1.ec469ap-20f, 0x1.18a2dp-5f, 0x1.0b8e72p-4f, 0x1.74117ap-4f, 0x1.be4b9ep-4f, 0x1.e6dc1ap-4f, 0x1.ee9de8p-4f,
     0x1.da0e8cp-4f, 0x1.afc6cap-4f, 0x1.7787dap-4f, 0x1.391b16p-4f, 0x1.f559f6p-5f, 0x1.824f64p-5f, 0x1.1ec73ep-5f,
     0x1.9a735p-6f, 0x1.1b7bb2p-6f, 0x1.7a8b8p-7f, 0x1.e86c82p-8f, 0x1.30b09cp-8f, 0x1.6f70bp-9f, 0x1.ad069ep-10f,
     0x1.e4bc62p-11f, 0x1.08b11cp-11f, 0x1.189f66p-12f, 0x1.1f5938p-13f, 0x1.1db134p-14f, 0x1.128f8ep-15f,
     0x1.ff872p-17f, 0x1.cdcb1p-18f, 0x1.94508ep-19f, 0x1.56d95ap-20f, 0x1.1933dep-21f},
    {0x1.0ff2fcp-4f, 0x1.040c6p-4f, 0x1.c2973p-5f, 0x1.59f3e6p-5f, 0x1.b926a4p-6f, 0x1.6a99acp-7f, -0x1.c58b2p-9f,
     -0x1.f4ae64p-7f, -0x1.8352aap-6f, -0x1.d01d4cp-6f, -0x1.e617a2p-6f, -0x1.d0c7d6p-6f, -0x1.9e1dd2p-6f,
     -0x1.5bb258p-6f, -0x1.14f602p-6f, -0x1.a4ace2p-7f, -0x1.31cdaep-7f, -0x1.aa50aep-8f, -0x1.1d8146p-8f,
     -0x1.6fae8cp-9f, -0x1.c853ccp-10f, -0x1.10f1c4p-10f, -0x1.3a8dacp-11f, -0x1.5ec8dep-12f, -0x1.78e07cp-13f,
     -0x1.88249cp-14f, -0x1.899b74p-15f, -0x1.7e312ap-16f, -0x1.670012p-17f, -0x1.467fa6p-18f, -0x1.1f2c42p-19f,
     -0x1.e7fc1ep-21f},
    {0x1.2321b8p-9f, -0x1.158da6p-7f, -0x1.00789ap-6f, -0x1.52a0d8p-6f, -0x1.767c4ap-6f, -0x1.6bf42ep-6f,
     -0x1.3aed58p-6f, -0x1.dfeeep-7f, -0x1.3262cap-7f, -0x1.12e6fap-8f, 0x1.530138p-13f, 0x1.b97948p-9f,
     0x1.5d59b4p-8f, 0x1.93afe4p-8f, 0x1.90bc06p-8f, 0x1.67cc26p-8f, 0x1.2b4d3cp-8f, 0x1.d36d86p-9f, 0x1.5951bcp-9f,
     0x1.e5095cp-10f, 0x1.4550eap-10f, 0x1.a1a878p-11f, 0x1.00c92p-11f, 0x1.3007ecp-12f, 0x1.59693cp-13f,
     0x1.7a9f1ap-14f, 0x1.8f3294p-15f, 0x1.9613dap-16f, 0x1.8e991ap-17f, 0x1.7a03aep-18f, 0x1.5a0422p-19f,
     0x1.31784cp-20f},
    {-0x1.0ff858p-5f, -0x1.1395acp-7f, -0x1.a4e58ep-8f, -0x1.24725ep-8f, -0x1.bc34e6p-10f, 0x1.4715b4p-9f,
     0x1.3d480cp-8f, 0x1.69130ap-8f, 0x1.77d56p-8f, 0x1.643d5cp-8f, 0x1.1944a8p-8f, 0x1.7623dcp-9f, 0x1.a6af2p-10f,
     0x1.ab38cap-12f, -0x1.ed036ep-12f, -0x1.dfa1d2p-11f, -0x1.309bf4p-10f, -0x1.2a530ap-10f, -0x1.05d09p-10f,
     -0x1.a52266p-11f, -0x1.3bc53ap-11f, -0x1.bd94e8p-12f, -0x1.2be10ap-12f, -0x1.7d1806p-13f, -0x1.d05b72p-14f,
     -0x1.0f3de8p-14f, -0x1.2f22fap-15f, -0x1.452038p-16f, -0x1.4fce36p-17f, -0x1.4dec66p-18f, -0x1.3fb3cep-19f,
     -0x1.26864cp-20f},
    {0x1.72d4c2p-4f, 0x1.976a3ep-11f, 0x1.f8b3fp-11f, 0x1.36012ep-8f, 0x1.22f8eap-8f, 0x1.2b3d1cp-9f,
     0x1.8d10ecp-10f, 0x1.9cb47ep-10f, 0x1.028c6ep-11f, -0x1.562f0ap-11f, -0x1.51be7p-10f, -0x1.4152bap-10f,
     -0x1.7eeec8p-10f, -0x1.db9a6ap-11f, -0x1.2385ap-11f, -0x1.56df6p-12f, -0x1.52b3acp-16f, 0x1.a472eap-14f,
     0x1.78ea82p-13f, 0x1.9dece2p-13f, 0x1.813a8ap-13f, 0x1.3774fap-13f, 0x1.f3a0fp-14f, 0x1.5383d6p-14f,
     0x1.ca70b2p-15f, 0x1.2563f4p-15f, 0x1.60f2bp-16f, 0x1.8cacfcp-17f, 0x1.b3c81ep-18f, 0x1.c705b4p-19f,
     0x1.cc5fa8p-20f, 0x1.bafe46p-21f},
};
inline constexpr double kErfTableD[][16] = {
    {0x0p+0, 0x1.0554p-2, 0x1.0964dp-1, 0x1.94b92p-1, 0x1.12d19p+0, 0x1.5e5b08p+0, 0x1.ad8758p+0, 0x1.004f68p+1,
     0x1.2c48dp+1, 0x1.5b21d4p+1, 0x1.8d80fcp+1, 0x1.c44b74p+1, 0x1.008848p+2, 0x1.231a5cp+2, 0x1.4c6fe6p+2,
     0x1.846456p+2},
    {0x0p+0, 0x1.209945b6515bfp-2, 0x1.12acc3c7e457ap-1, 0x1.79082a8e55c05p-1, 0x1.bdf7874baebbcp-1,
     0x1.e4e5d7da0bae6p-1, 0x1.f6f6494befa81p-1, 0x1.fda1699cada1cp-1, 0x1.ff8909f4e42a1p-1, 0x1.ffef8ffa9575ep-1,
     0x1.fffe86dc6c3c1p-1, 0x1.ffffec7b4b4fep-1, 0x1.ffffff8458206p-1, 0x1.fffffffeec063p-1, 0x1.ffffffffff8cfp-1,
     0x1p+0},
    {0x1.20dd750429b6dp+0, 0x1.0ea6b66c5008dp+0, 0x1.b99bb07ee6a89p-1, 0x1.35486a700f11bp-1, 0x1.6cf9b3e9c1e49p-2,
     0x1.63199b55dc564p-3, 0x1.14d2ca4efec18p-4, 0x1.4f56eff9b3a0cp-6, 0x1.2d220ffbb49c7p-8, 0x1.7a57845dc966dp-11,
     0x1.32b559ef717e6p-14, 0x1.1e2d9d3d13aa9p-18, 0x1.fe3d2f43428cep-24, 0x1.4112ca9af71b5p-30,
     0x1.302f743bfdea8p-39, 0x1.03d23377408f2p-53},
    {0x1.b65a75f72e9ecp-46, -0x1.1448c6b0491a7p-2, -0x1.c9d01152cdb4dp-2, -0x1.e8f5eff6d01afp-2,
     -0x1.87ce07b888a3ap-2, -0x1.e5fb479267963p-3, -0x1.d077975785c45p-4, -0x1.4fbef409131a9p-5,
     -0x1.613990fb25b07p-7, -0x1.00834f81d71e9p-9, -0x1.dc3dc50f8057ep-13, -0x1.f99ce2a812454p-17,
     -0x1.ff4ccf7920841p-22, -0x1.6d1972498ca8fp-28, -0x1.8b0425e00d983p-37, -0x1.5e7f56205b7c6p-49},
    {-0x1.812746b053a37p-2, -0x1.39dcced2991e3p-2, -0x1.106723df83517p-3, 0x1.9be2571c1a55cp-5, 0x1.3d7ddd33c4b16p-3,
     0x1.4509092104ca6p-3, 0x1.ab430c200f03ep-4, 0x1.88504dd0fd1a4p-5, 0x1.f63f8ec885f5dp-7, 0x1.b03de276dde7ap-9,
     0x1.d36e0cb1cf4e5p-12, 0x1.1dd81b884cccdp-15, 0x1.4af20efe24a35p-20, 0x1.0e15f31a9b87ap-26,
     0x1.4fa2d9dd93e77p-35, 0x1.9daa899632601p-49},
    {0x1.63b007d335b11p-31, 0x1.0849cb496b7b7p-3, 0x1.77cee351b3be8p-3, 0x1.1d4699ec6bf85p-3, 0x1.6b26da64b0bf7p-5,
     -0x1.e36451e0dec5cp-6, -0x1.973c2efe0720cp-5, -0x1.18dfaca1696c1p-5, -0x1.d7637a4469fb8p-7,
     -0x1.f49be560889c3p-9, -0x1.4336c61970e18p-11, -0x1.cee368a426acbp-15, -0x1.365459087dcf1p-19,
     -0x1.23e7d120d3f75p-25, -0x1.a34d3b43e1d84p-34, 0x1.8ae06ec636e6bp-45},
    {0x1.ce2f18ab63d02p-4, 0x1.42ad60e791da1p-4, 0x1.e68e3c5c46141p-10, -0x1.e45edf682524ap-5, -0x1.0c76e4129cec1p-4,
     -0x1.01bb089e6c84p-5, 0x1.0f43bb7443439p-9, 0x1.ad1bc844f05cdp-7, 0x1.23abda2f56bd7p-7, 0x1.9d61ce17f581cp-9,
     0x1.4b61b9d2fc78cp-11, 0x1.1c405d426b267p-14, 0x1.bfeafedac59cdp-19, 0x1.ea9453a63ba19p-25,
     0x1.9a7265e64a047p-33, 0x1.378a7b351c921p-46},
    {0x1.0949ef1b31f9p-20, -0x1.50ce6aa3a7054p-5, -0x1.937d3923556dep-5, -0x1.61554adea765ep-6, 0x1.7d2b612a0fa3fp-7,
     0x1.6c0dcaaa12216p-6, 0x1.8c74afc5bfc23p-7, 0x1.a5bff359625cap-12, -0x1.9985c96c00338p-9,
     -0x1.e065217422cb8p-10, -0x1.00d83a2f7efacp-11, -0x1.1116495dd2dcdp-14, -0x1.01dbdb8d950efp-18,
     -0x1.4d09693613b22p-24, -0x1.48331c9e1a851p-32, -0x1.474b2634b64cbp-41},
    {-0x1.b877a09978f1p-6, -0x1.0231f6c2cdcf7p-6, 0x1.c116ea392a062p-8, 0x1.3673f47f50d78p-6, 0x1.8a731a3687903p-7,
     -0x1.39fc7bab052fap-10, -0x1.9c67321e3149fp-8, -0x1.b6d61dd3c0b25p-9, -0x1.a4e93b5910e0bp-16,
     0x1.5ec50dd9ffef8p-11, 0x1.29fd046017d4dp-12, 0x1.a00d4ab75ebc4p-15, 0x1.e3f71f4dabb21p-19,
     0x1.76600a647ea7p-24, 0x1.b5e9521290bd4p-32, 0x1.3b5a03b5c8abp-44},
    {0x1.a0ff658ce03b1p-13, 0x1.41a0faee4bd3bp-7, 0x1.3cbe71381911fp-7, 0x1.cbb3bb20ee73bp-11, -0x1.7710c5df524c6p-8,
     -0x1.1d31107edffccp-8, 0x1.888bb513b436p-15, 0x1.a0c560f3faae7p-10, 0x1.66c50c2a1914p-11,
     -0x1.fee0b55966552p-15, -0x1.e529e37371587p-14, -0x1.f50ae5eb9d3e5p-16, -0x1.76424ec7fd08fp-19,
     -0x1.60f0e5ac0363bp-24, -0x1.e55f385d07cdbp-32, 0x1.3d8ba14c88cbfp-39},
    {0x1.fcfffb4ff9bfcp-9, 0x1.48ba007bf598bp-9, -0x1.408cdbad2be9dp-9, -0x1.f71ba2f5e8caap-9,
     -0x1.ff6ba648ccd6dp-11, 0x1.97f69ec4d0068p-10, 0x1.3c2f306177213p-10, -0x1.d915a567d4ebap-15,
     -0x1.70eeaa25ac1eep-12, -0x1.87c043a47da39p-14, 0x1.9c115bdcec5dep-16, 0x1.cf4e604425055p-17,
     0x1.dec59177c1e24p-20, 0x1.1c762d9c3cac1p-24, 0x1.defeffc041d28p-32, 0x1.0efa67183a14ep-44},
    {0x1.47db00fb94cdep-8, -0x1.e73a949404a69p-10, -0x1.7d9bc29bb7fe6p-10, 0x1.d07d61333026fp-12,
     0x1.3ede859eef149p-10, 0x1.6e3d34ea1fcadp-12, -0x1.aac999eb2f2eap-12, -0x1.103eaf2912ab9p-12,
     0x1.5b8ea1e12c44p-15, 0x1.00b79acbad77fp-14, 0x1.7b70aec65abaap-18, -0x1.272aea8c05635p-18,
     -0x1.009a5facafc52p-20, -0x1.a685b9222118fp-25, -0x1.f84985fb05da3p-32, -0x1.00190fc6ca4afp-38},
    {-0x1.1fcbf5b21cdffp-7, -0x1.5b9b658ffdc9bp-12, 0x1.1574b5c86c0fbp-11, 0x1.260494c1867acp-11,
     -0x1.3e716b114dd13p-14, -0x1.624f8c0ab1a22p-12, -0x1.3156c705e235ep-14, 0x1.ad5a77d13d13p-14,
     0x1.49c8857114965p-15, -0x1.eb30f7ce462e8p-17, -0x1.dab214e7d70e8p-18, 0x1.28c195daa2f7fp-21,
     0x1.a6501ae46aaa7p-22, 0x1.ed6bed831b24p-26, 0x1.76b804b209abdp-32, 0x1.729864459bf3fp-43},
};
// clang-format on

EV_INLINE Vec<float> look_up(const float (&row)[32], Vec<float>::I i) {
  return {(Vec<float>::V)_mm512_permutex2var_ps(_mm512_loadu_ps(row), (__m512i)i, _mm512_loadu_ps(row + 16))};
}
EV_INLINE Vec<double> look_up(const double (&row)[16], Vec<double>::I i) {
  return {(Vec<double>::V)_mm512_permutex2var_pd(_mm512_loadu_pd(row), (__m512i)i, _mm512_loadu_pd(row + 8))};
}
template <class T, std::size_t N, std::size_t M>
EV_INLINE Vec<T> pieces(Vec<T> t, typename Vec<T>::I i, const T (&table)[N][M]) {
  Vec<T> y = look_up(table[N - 1], i);
#pragma GCC unroll 16
  for (std::size_t k = N - 2; k > 0; --k) y = fma(y, t, look_up(table[k], i));
  return y;
}

// The normal distribution at −a₁ − a₂ for 0 ≤ a₁ ≤ kTailEnd.
inline constexpr float kTailEnd = 5.47f;
EV_INLINE Vec<float> normal_tail(Vec<float> a1, Vec<float> a2) {
  const auto i = fma(a1, Vec<float>(5.75), Vec<float>(kRoundMagic<float>)).bits();
  return pieces((a1 - look_up(kTailTableF[0], i)) + a2, i, kTailTableF);
}

#else

// erf(a)/a − 1 of a², a ≤ 1.
inline constexpr float kErfF[] = {0x1.06eba8p-3f, -0x1.81273ep-2f,  0x1.ce2ce6p-4f, -0x1.b7f71ap-6f,
                                  0x1.53f224p-8f, -0x1.a3515ep-11f, 0x1.4771fep-14f};
inline constexpr double kErfD[] = {0x1.06eba8214db69p-3,   -0x1.812746b037a25p-2,  0x1.ce2f21a0458d9p-4,
                                   -0x1.b82ce31354d83p-6,  0x1.565bcd2c6507ap-8,   -0x1.c02db93391767p-11,
                                   0x1.f9a3b96343bb4p-14,  -0x1.f4dcf2c14f17ep-17, 0x1.ba69297645b8fp-20,
                                   -0x1.6391902851261p-23, 0x1.132578c67b2fbp-26,  -0x1.c4db4909eeb76p-30,
                                   0x1.3bd27cf5c1cd7p-33};

#endif

// ½ erfc(−x/√2) and erfc(x).
template <class T>
EV_INLINE Vec<T> normal_cdf(Vec<T> x) {
  using V = Vec<T>;
  const V a = at_most(abs(x), sizeof(T) == 4 ? T(14.6) : T(39)), half = V(T(0.5)) * a;  // from here on 0
  const V s = a * half;
  const auto e = erfc_scaled(a * V(T(kSqrtHalf)), a * V(T(1.2533141373155002512)), s, fma(a, half, -s));
  const V y = scale(e.y, e.n - V(1)), far = select(x > V(0), V(1) - y, y);
  // The errors of y would show most where x is near 0, and gelu adds its own.
  return select(a < V(T(0.5)), fma(x, horner(s, kNormalF, kNormalD), V(T(0.5))), far);
}
template <class T>
EV_INLINE Vec<T> erfc(Vec<T> x) {
  using V = Vec<T>;
  const V a = at_most(abs(x), sizeof(T) == 4 ? T(10.4) : T(27.6)), s = a * a;
  const auto e = erfc_scaled(a, a * V(T(1.7724538509055160273)), s, fma(a, a, -s));
  const V y = scale(e.y, e.n);
  return select(x < V(0), V(2) - y, y);
}

}  // namespace error

template <class T>
EV_INLINE Vec<T> erf(Vec<T> x) {
  using V = Vec<T>;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    const V a = at_most(abs(x), T(3.93));
    const auto i = fma(a, V(8), V(kRoundMagic<T>)).bits();
    return flip_sign(error::pieces(a - error::look_up(error::kErfTableF[0], i), i, error::kErfTableF), x);
  } else {
    const V a = at_most(abs(x), T(6));
    const auto i = fma(a, fma(a, V(-0.25), V(4)), V(kRoundMagic<T>)).bits();
    return flip_sign(error::pieces(a - error::look_up(error::kErfTableD[0], i), i, error::kErfTableD), x);
  }
#else
  const V a = at_most(abs(x), T(6)), s = a * a;
  const auto e = error::erfc_scaled(a, a * V(T(1.7724538509055160273)), s, fma(a, a, -s));
  const V large = V(1) - e.y * exp2_integer(e.n);
  V p;
  if constexpr (sizeof(T) == 4)
    p = horner(s, error::kErfF);
  else
    p = horner_halves(s, error::kErfD);
  return flip_sign(select(a > V(1), large, fma(a, p, a)), x);
#endif
}

template <class T>
EV_INLINE Vec<T> erfc(Vec<T> x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    using V = Vec<T>;
    constexpr T end = error::kTailEnd / T(1.4142137), root = T(0x1.6a09e6p+0), rest = T(0x1.9fcef4p-26);
    const V a = at_most(abs(x), end), b = a * V(root);
    const V half = error::normal_tail(b, fma(a, V(rest), fma(a, V(root), -b)));
    V y = select(V::Mask::template bit<31>(x.bits()), V(2), V(0)) + flip_sign(half + half, x);  // −0 too
    const auto far = x > V(end);
    if (any(far)) [[unlikely]]
      y = select(far, error::erfc(x), y);
    return y;
  }
#endif
  return error::erfc(x);
}

// ½ erfc(−x/√2), without an error of x/√2 in the exponent.
template <class T>
EV_INLINE Vec<T> normal_cdf(Vec<T> x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    using V = Vec<T>;
    const V tail = error::normal_tail(at_most(abs(x), error::kTailEnd), V(0));
    V y = select(x > V(0), V(1) - tail, tail);
    const auto far = x < V(-error::kTailEnd);
    if (any(far)) [[unlikely]]
      y = select(far, error::normal_cdf(x), y);
    return y;
  }
#endif
  return error::normal_cdf(x);
}

// ---- derivatives --------------------------------------------------------------------------------------------------

// k e^(−x²/parts) with x² in two parts, for |x| below the bound where that is 0; scaled last, so that subnormal results
// are rounded once.
template <class T>
EV_INLINE Vec<T> times_bell(Vec<T> k, Vec<T> x, int parts) {
  using V = Vec<T>;
  const V c = V(T(1) / parts) * x;
  const V s = x * c;
  const V n = fma(s, V(T(-0x1.71547652b82fep+0)), V(kRoundMagic<T>)) - V(kRoundMagic<T>);
  const V r = fma(n, V(-Ln2<T>::lo), fma(n, V(-Ln2<T>::hi), -s)) - fma(x, c, -s);
  return scale(fma(k * r, expm1_quotient(r), k), n);
}
template <class T>
EV_INLINE Vec<T> within(Vec<T> x, T bound) {
  return at_least(at_most(x, bound), -bound);
}

// They are +-0 from about 10.4 and 27.4, or 14.7 and 38.8 on.
template <class T>
EV_INLINE Vec<T> erf_d1(Vec<T> x) {
  const Vec<T> a = within(x, sizeof(T) == 4 ? T(10.6) : T(27.7));
  return times_bell(Vec<T>(kTwoOverSqrtPi), a, 1);
}
template <class T>
EV_INLINE Vec<T> erf_d2(Vec<T> x) {
  const Vec<T> a = within(x, sizeof(T) == 4 ? T(10.6) : T(27.7));
  return times_bell(Vec<T>(-2 * kTwoOverSqrtPi) * a, a, 1);
}
template <class T>
EV_INLINE Vec<T> gelu_d1(Vec<T> x) {
  const Vec<T> a = within(x, sizeof(T) == 4 ? T(15) : T(39.2));
  return normal_cdf(x) + times_bell(Vec<T>(kInvSqrtTwoPi) * a, a, 2);
}
template <class T>
EV_INLINE Vec<T> gelu_d2(Vec<T> x) {
  const Vec<T> a = within(x, sizeof(T) == 4 ? T(15) : T(39.2));
  return times_bell(Vec<T>(kInvSqrtTwoPi) * fma(-a, a, Vec<T>(2)), a, 2);
}

EV_LEVEL_END
}  // namespace evolute::math
