include { armTag ; settingsKey } from '../../functions/arms'

process COMPARE {
    tag "${meta.id} method ${meta.methods} fold ${meta.fold}${armTag(meta)}"
    // Published methods train for long, and Tangram's matrix of cells by spots takes up to 4 GB.
    memory { (meta.is_published ? 6.GB : 2.GB) * 2 ** (task.attempt - 1) }
    time { (meta.is_published ? 12.h : 4.h) * task.attempt }

    input:
    tuple val(meta), path(spatial), path(reference), path(fold)
    val seed
    val code

    output:
    tuple val(meta), path("${meta.fold}/${meta.id}.${meta.name}.h5ad"), optional: true, emit: h5ad
    path '*.failure.json', optional: true, topic: records
    tuple val("${task.process} ${meta.name}"), eval("package_of.py ${meta.methods}"), eval("version_of.py \$(package_of.py ${meta.methods})"), topic: versions

    script:
    """
    mkdir ${meta.fold}
    compare.py --spatial ${spatial} --reference ${reference} --fold ${fold} \\
        --method ${meta.methods} --n-neighbors ${meta.settings.n_neighbors} --settings ${settingsKey(meta.settings)} --seed ${seed} \\
        --output ${meta.fold}/${meta.id}.${meta.name}.h5ad --failure ${meta.id}.failure.json
    """

    stub:
    """
    mkdir ${meta.fold}
    touch ${meta.fold}/${meta.id}.${meta.name}.h5ad
    """
}
