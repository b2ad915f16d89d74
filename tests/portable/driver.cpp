// After the source of the kernels: runs them on the calls in files, as kernels.py writes them, and writes what they
// leave: driver CALL RESULT [CALL RESULT ...]
#include <stdio.h>

struct File {
    FILE* file;
    File(const char* name, const char* mode) : file(fopen(name, mode)) {
        if (!file) perror(name), exit(2);
    }
    ~File() { fclose(file); }
    template <class T>
    T* read(size_t count) {
        T* values = zeros<T>(count);
        if (fread(values, sizeof(T), count, file) != count) exit(3);
        return values;
    }
    template <class T>
    void write(const T* values, size_t count) {
        if (fwrite(values, sizeof(T), count, file) != count) exit(4);
    }
};

static void run(File&& in, File&& out) {
    const int64_t* n = in.read<int64_t>(2);
    const bool wide = n[0];
    const int64_t total = n[1];  // rows of a replica
    Call call = *in.read<Call>(1);  // whose addresses mean nothing here
    const int64_t replicas = call.replicas;
    const int64_t* units = call.units = in.read<int64_t>(call.layers + 1);
    const int64_t inputs = units[0], outputs = units[call.layers];
    call.first = 0, call.last = replicas;
    call.x = {in.read<real>(replicas * total * inputs), 0, total * inputs};
    call.y = {in.read<real>(replicas * total * outputs), 0, total * outputs};
    if (call.ordered) {
        call.order.starts = in.read<int64_t>(replicas * call.steps);
        call.order.lengths = in.read<int64_t>(replicas * call.steps);
    }
    call.factors = in.read<real>(FACTORS * call.steps);
    real* state[6 * MOST_LAYERS];
    size_t sizes[6 * MOST_LAYERS];
    const int tensors = 2 * call.layers * (1 + call.buffers);
    for (int s = 0; s < tensors; ++s) {
        const int l = s % (2 * call.layers) / 2;
        sizes[s] = replicas * (s % 2 ? 1 : units[l]) * units[l + 1];
        state[s] = in.read<real>(sizes[s]);
    }
    call.state = state, call.losses = zeros<real>(call.steps * replicas);
#ifdef UNITS
    run_narrow(&call);
#else
    wide ? run_wide(&call) : run_narrow(&call);
#endif
    out.write(call.losses, call.steps * replicas);
    for (int s = 0; s < tensors; ++s) out.write(state[s], sizes[s]);
#ifndef UNITS
    double* squares = zeros<double>(replicas);
    int64_t* dead = zeros<int64_t>(replicas);
    const Evaluation evaluation = {replicas,      total,          call.layers,      call.activation, call.leak,
                                   units,         call.x.values,  call.y.values,    total * inputs,  total * outputs,
                                   state,         squares,        dead};
    evaluate(&evaluation);
    out.write(squares, replicas), out.write(dead, replicas);
#endif
}

int main(int count, char** names) {
    for (int i = 1; i + 1 < count; i += 2) run(File(names[i], "rb"), File(names[i + 1], "wb"));
}
