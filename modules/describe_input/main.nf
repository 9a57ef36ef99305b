process DESCRIBE_INPUT {
    tag "${id}"

    input:
    tuple val(id), val(kind), path(data, stageAs: 'input/*'), path(coordinates, stageAs: 'coordinates/*')
    val code

    output:
    path "${id}.description.json", emit: description
    path "${id}.checksums.json", topic: records

    script:
    def place = coordinates ? "--coordinates ${coordinates}" : ''
    """
    describe_input.py --id ${id} --kind ${kind} --input ${data} ${place} --output ${id}.description.json \\
        --checksums ${id}.checksums.json
    """

    stub:
    """
    echo '{"id": "${id}", "kind": "${kind}", "unreadable": null}' > ${id}.description.json
    echo '{"id": "${id}", "kind": "${kind}", "data": [], "coordinates": []}' > ${id}.checksums.json
    """
}
