// Predicted in seconds, and so together; the registry in bin/stlatent/baselines has the same ones.
def plainMethods() {
    return ['null', 'ridge', 'kernel_ridge', 'knn']
}

// What --baselines names, as tasks of a fold: [name, methods, is_published] of the plain methods
// together, and of each published one.
def comparisons(baselines) {
    def names = baselines.tokenize(',').unique()
    def plain = names.findAll { name -> name in plainMethods() }
    return (plain ? [[name: 'baselines', methods: plain.join(','), is_published: false]] : []) + (names - plain).collect { name -> [name: name, methods: name, is_published: true] }
}
