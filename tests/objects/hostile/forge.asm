; Writes FRAME to REPLY_FD, the worker's reply socket, then does what THEN says:
;   exit    ends the process with code 0
;   spin    never returns
;   again   writes again, for ever
;   return  returns, so that the true reply follows the forged one
;
; FRAME is one of
;   junk    100 bytes that are no frame
;   length  a header that claims 4 GiB - 1
;   header  a good header, and 64 bytes that are no reply
;   brief   a good header for 64 bytes, and none of them
%ifndef REPLY_FD
%define REPLY_FD 3
%endif

        bits    64
        section .text
        global  playground
playground:
        mov     eax, 1
        mov     edi, REPLY_FD
        lea     rsi, [rel FRAME]
        mov     edx, FRAME %+ _end - FRAME
        syscall
        jmp     THEN

exit:
        mov     eax, 231
        xor     edi, edi
        syscall
spin:
        jmp     spin
again:
        jmp     playground
return:
        ret

        section .rodata
%define PROTOCOL_VERSION 1      ; of the crate webrunner-protocol, so that the header is the best forgery
junk:   times 100 db "A"
junk_end:
length: db      "WRre"
        dw      PROTOCOL_VERSION
        dd      0xffffffff
length_end:
header: db      "WRre"
        dw      PROTOCOL_VERSION
        dd      64
        times 64 db 0xff
header_end:
brief:  db      "WRre"
        dw      PROTOCOL_VERSION
        dd      64
brief_end:
