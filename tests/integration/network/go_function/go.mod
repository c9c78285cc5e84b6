module lambent.example/outside

go 1.21
