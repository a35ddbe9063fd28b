; The system call NUMBER with the arguments A0 to A5, then a return. It returns only if the call was let through, so a
; measurement in answer to one of these objects is a hole in the lock.
%ifndef A0
%define A0 0
%endif
%ifndef A1
%define A1 0
%endif
%ifndef A2
%define A2 0
%endif
%ifndef A3
%define A3 0
%endif
%ifndef A4
%define A4 0
%endif
%ifndef A5
%define A5 0
%endif

        bits    64
        section .text
        global  playground
playground:
        mov     rax, NUMBER
        mov     rdi, A0
        mov     rsi, A1
        mov     rdx, A2
        mov     r10, A3
        mov     r8, A4
        mov     r9, A5
        syscall
        ret

        section .rodata
passwd: db      "/etc/passwd", 0
true:   db      "/bin/true", 0
zeroes: times 128 db 0
