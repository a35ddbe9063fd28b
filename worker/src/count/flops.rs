//! Floating-point operations an instruction performs.
//!
//! Counted as Intel's `FP_ARITH_INST_RETIRED` events count them (SDM volume 3B): additions, multiplications, divisions,
//! roots, minima, maxima and approximate reciprocals are one operation an element; fused multiply-adds and dot products
//! are two. So are x87's additions, multiplications, divisions and roots, which those events do not know. Half
//! precision, 3DNow!, conversions and x87's remainders and transcendental functions are not counted.
#![forbid(unsafe_code)]

use iced_x86::{Instruction, Mnemonic as M};

/// Type of the elements computed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Single,
    Double,
    /// An x87 register, whatever precision its control word asks for.
    X87,
}

/// What one execution computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flops {
    pub(super) element: Element,
    /// 0 scalar, 1 for 128 bits, 2 for 256, 3 for 512.
    pub(super) width: usize,
    pub(super) operations: u64,
}

/// Operations of an instruction, all lanes counted whatever its mask; `None` if it computes on no floating-point numbers.
pub(super) fn flops(instruction: &Instruction) -> Option<Flops> {
    let (element, scalar, each) = kind(instruction.mnemonic())?;
    if scalar {
        return Some(Flops { element, width: 0, operations: each });
    }
    let bytes = instruction.op0_register().size() as u64;
    let width = match bytes {
        16 => 1,
        32 => 2,
        64 => 3,
        _ => return None,
    };
    let lanes = match element {
        Element::Single => bytes / 4,
        Element::Double => bytes / 8,
        // Scalar, all of them.
        Element::X87 => return None,
    };
    Some(Flops { element, width, operations: lanes * each })
}

/// Element, whether scalar, and operations for each element.
#[rustfmt::skip]
fn kind(mnemonic: M) -> Option<(Element, bool, u64)> {
    Some(match mnemonic {
        M::Addss | M::Divss | M::Maxss | M::Minss | M::Mulss | M::Rcpss | M::Rsqrtss | M::Sqrtss
        | M::Subss | M::Vaddss | M::Vdivss | M::Vmaxss | M::Vminss | M::Vmulss | M::Vrcp14ss | M::Vrcpss
        | M::Vrsqrt14ss | M::Vrsqrtss | M::Vsqrtss | M::Vsubss => (Element::Single, true, 1),
        M::Vfmadd132ss | M::Vfmadd213ss | M::Vfmadd231ss | M::Vfmaddss | M::Vfmsub132ss | M::Vfmsub213ss
        | M::Vfmsub231ss | M::Vfmsubss | M::Vfnmadd132ss | M::Vfnmadd213ss | M::Vfnmadd231ss
        | M::Vfnmaddss | M::Vfnmsub132ss | M::Vfnmsub213ss | M::Vfnmsub231ss | M::Vfnmsubss => (Element::Single, true, 2),
        M::Addps | M::Addsubps | M::Divps | M::Haddps | M::Hsubps | M::Maxps | M::Minps | M::Mulps
        | M::Rcpps | M::Rsqrtps | M::Sqrtps | M::Subps | M::Vaddps | M::Vaddsubps | M::Vdivps | M::Vhaddps
        | M::Vhsubps | M::Vmaxps | M::Vminps | M::Vmulps | M::Vrcp14ps | M::Vrcpps | M::Vrsqrt14ps
        | M::Vrsqrtps | M::Vsqrtps | M::Vsubps => (Element::Single, false, 1),
        M::Dpps | M::Vdpps | M::Vfmadd132ps | M::Vfmadd213ps | M::Vfmadd231ps | M::Vfmaddps | M::Vfmaddsub132ps
        | M::Vfmaddsub213ps | M::Vfmaddsub231ps | M::Vfmaddsubps | M::Vfmsub132ps | M::Vfmsub213ps
        | M::Vfmsub231ps | M::Vfmsubadd132ps | M::Vfmsubadd213ps | M::Vfmsubadd231ps | M::Vfmsubaddps
        | M::Vfmsubps | M::Vfnmadd132ps | M::Vfnmadd213ps | M::Vfnmadd231ps | M::Vfnmaddps
        | M::Vfnmsub132ps | M::Vfnmsub213ps | M::Vfnmsub231ps | M::Vfnmsubps => (Element::Single, false, 2),
        M::Addsd | M::Divsd | M::Maxsd | M::Minsd | M::Mulsd | M::Sqrtsd | M::Subsd | M::Vaddsd
        | M::Vdivsd | M::Vmaxsd | M::Vminsd | M::Vmulsd | M::Vrcp14sd | M::Vrsqrt14sd | M::Vsqrtsd
        | M::Vsubsd => (Element::Double, true, 1),
        M::Vfmadd132sd | M::Vfmadd213sd | M::Vfmadd231sd | M::Vfmaddsd | M::Vfmsub132sd | M::Vfmsub213sd
        | M::Vfmsub231sd | M::Vfmsubsd | M::Vfnmadd132sd | M::Vfnmadd213sd | M::Vfnmadd231sd
        | M::Vfnmaddsd | M::Vfnmsub132sd | M::Vfnmsub213sd | M::Vfnmsub231sd | M::Vfnmsubsd => (Element::Double, true, 2),
        M::Addpd | M::Addsubpd | M::Divpd | M::Haddpd | M::Hsubpd | M::Maxpd | M::Minpd | M::Mulpd
        | M::Sqrtpd | M::Subpd | M::Vaddpd | M::Vaddsubpd | M::Vdivpd | M::Vhaddpd | M::Vhsubpd
        | M::Vmaxpd | M::Vminpd | M::Vmulpd | M::Vrcp14pd | M::Vrsqrt14pd | M::Vsqrtpd | M::Vsubpd => (Element::Double, false, 1),
        M::Dppd | M::Vdppd | M::Vfmadd132pd | M::Vfmadd213pd | M::Vfmadd231pd | M::Vfmaddpd | M::Vfmaddsub132pd
        | M::Vfmaddsub213pd | M::Vfmaddsub231pd | M::Vfmaddsubpd | M::Vfmsub132pd | M::Vfmsub213pd
        | M::Vfmsub231pd | M::Vfmsubadd132pd | M::Vfmsubadd213pd | M::Vfmsubadd231pd | M::Vfmsubaddpd
        | M::Vfmsubpd | M::Vfnmadd132pd | M::Vfnmadd213pd | M::Vfnmadd231pd | M::Vfnmaddpd
        | M::Vfnmsub132pd | M::Vfnmsub213pd | M::Vfnmsub231pd | M::Vfnmsubpd => (Element::Double, false, 2),
        M::Fadd | M::Faddp | M::Fiadd | M::Fsub | M::Fsubp | M::Fsubr | M::Fsubrp | M::Fisub | M::Fisubr
        | M::Fmul | M::Fmulp | M::Fimul | M::Fdiv | M::Fdivp | M::Fdivr | M::Fdivrp | M::Fidiv | M::Fidivr
        | M::Fsqrt => (Element::X87, true, 1),
        _ => return None,
    })
}
