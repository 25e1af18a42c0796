// A program that does nothing: what exec benchmarks run.
int main() { return 0; }
