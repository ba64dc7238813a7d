-- ARGV: name of a worker that ends in good order -> 'ok'
forget(ARGV[1])
return {'ok'}
