; A function that takes 100 cycles or 300, as a bit says that is mixed from the time stamp counter every 65536 ticks: of the
; rounds of a measurement about half find the one and half the other, however long a round takes.
default rel
global playground
section .text
playground:
    rdtsc
    shr eax, 16
    imul eax, eax, 0x9E3779B1
    test eax, eax
    jns .short
%rep 200
    add rcx, rcx
%endrep
.short:
%rep 100
    add rcx, rcx
%endrep
    ret
