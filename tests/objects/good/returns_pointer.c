// Returns the address of the second element of its argument.
const float *returns_pointer(const float *x) {
    return x + 1;
}
