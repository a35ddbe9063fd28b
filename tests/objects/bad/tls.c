// Thread-local data.
static __thread unsigned long calls = 1;

unsigned long playground(unsigned long iterations) {
    (void)iterations;
    return calls++;
}
