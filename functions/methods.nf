// Methods that take seconds and so share a task; the registry in bin/stlatent/baselines has the same ones.
def plainMethods() {
    return ['null', 'ridge', 'kernel_ridge', 'knn']
}

// The tasks of a fold for --baselines, [name, methods, is_published]: one for all plain methods, one for
// each published method.
def comparisons(baselines) {
    def names = baselines.tokenize(',').unique()
    def plain = names.findAll { name -> name in plainMethods() }
    return (plain ? [[name: 'baselines', methods: plain.join(','), is_published: false]] : []) + (names - plain).collect { name -> [name: name, methods: name, is_published: true] }
}
