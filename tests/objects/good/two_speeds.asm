; A function that takes 100 cycles or 300, as a bit of the time stamp counter says: of the rounds of a measurement about
; half find the one and half the other, whatever else the machine does.
default rel
global playground
section .text
playground:
    rdtsc
    test eax, 1 << 18
    jz .short
%rep 200
    add rcx, rcx
%endrep
.short:
%rep 100
    add rcx, rcx
%endrep
    ret
