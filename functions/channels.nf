// Joins every item of `left` with all items of `right` that have the same key: [meta, *left, *right].
// `left_key` and `right_key` compute the keys from the metas.
def match(left_key, right_key, left, right) {
    def keyed = right.map { item -> [right_key.call(item[0]), item.drop(1)] }
    return left
        .map { item -> [left_key.call(item[0]), item] }
        .combine(keyed, by: 0)
        .map { _key, item, more -> item + more }
}

// Every item once for each of the later step's settings that extend those in its meta.
def withSettings(items, later) {
    return items.flatMap { item ->
        def now = item[0].settings
        later
            .findAll { settings -> settings.subMap(now.keySet()) == now }
            .collect { settings -> [item[0] + [settings: settings]] + item.drop(1) }
    }
}

// Groups items [meta, file, number] to [meta, [file, ..]] as soon as a meta has that number of files. When
// a task failed, its group is complete at the end of the run.
def gather(items) {
    return items
        .map { meta, content, number -> [groupKey(meta, number), content] }
        .groupTuple(remainder: true)
        .map { key, contents -> [key.getGroupTarget(), contents] }
}
